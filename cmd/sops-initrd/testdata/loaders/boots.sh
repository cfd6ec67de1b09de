# boots.sh GENERATION VALUE: what the entry's initrd has, and nothing else; "none" is a value that none has
initrd=boot/extlinux/$(awk -v l=nixos-$1 '$1 == "LABEL" { on = $2 == l } on && $1 == "INITRD" { print $2 }' boot/extlinux/extlinux.conf)
[ $2 = none ] || grep -q "$2" $initrd || { echo "$1: $initrd does not have $2" >&2; exit 1; }
for v in first second third fourth; do
	[ $v = $2 ] || ! grep -q $v $initrd || { echo "$1: $initrd has $v" >&2; exit 1; }
done
