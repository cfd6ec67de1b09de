# bls.sh GENERATION… store/DEFAULT: an installer of somebody's own that writes entries of the Boot Loader Specification, with microcode in an
# initrd before the main one.
cd $WORK
for last; do :; done
mkdir -p boot/own boot/loader/entries
echo microcode > boot/own/microcode
used=' microcode '
for g; do
	[ $g != $last ] || continue
	initrd=$(readlink -f store/$g/initrd)
	name=${initrd##*/}
	[ -e boot/own/$name ] || { cp $initrd boot/own/$name.tmp && mv boot/own/$name.tmp boot/own/$name; }
	used="$used$name nixos-$g.conf "
	printf 'title %s\nlinux /own/kernel\ninitrd /own/microcode\ninitrd /own/%s\noptions init=%s/init quiet\n' $g $name $WORK/store/$g > nixos-$g.conf.tmp
	mv nixos-$g.conf.tmp boot/loader/entries/nixos-$g.conf
done
for f in boot/own/* boot/loader/entries/nixos-*.conf; do
	case "$used" in *" ${f##*/} "*) ;; *) rm $f ;; esac
done
echo installed ${last#store/}
