# has.sh FILE VALUE: what an image has, and nothing else; "none" is a value that none has
[ -e $1 ] || { echo "$1 is not there" >&2; exit 1; }
for v in first second third fourth; do
	if [ $v = $2 ]; then
		grep -q $v $1 || { echo "$1 does not have $2" >&2; exit 1; }
	elif grep -q $v $1; then
		echo "$1 has $v" >&2
		exit 1
	fi
done
