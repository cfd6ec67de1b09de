# listing.sh GENERATION… store/DEFAULT: an installer of somebody's own, for a loader of a form that is not known, which lists what it
# installed. The initrd of a generation is copied once.
cd $WORK
for last; do :; done
mkdir -p boot/own
{
	printf '{"version": 1, "entries": ['
	comma=
	for g; do
		[ $g != $last ] || continue
		[ -e boot/own/$g.img ] || { cp $(readlink -f store/$g/initrd) boot/own/$g.tmp && mv boot/own/$g.tmp boot/own/$g.img; }
		printf '%s{"title": "%s", "system": "%s", "image": "own/%s.img"}' "$comma" "entry $g" $WORK/store/$g $g
		comma=', '
	done
	echo ']}'
} > sops-initrd.json.tmp
mv sops-initrd.json.tmp boot/sops-initrd.json
for f in boot/own/*.img; do
	f=${f##*/}
	case " $* " in *" ${f%.img} "*) ;; *) rm boot/own/$f ;; esac
done
echo installed ${last#store/}
