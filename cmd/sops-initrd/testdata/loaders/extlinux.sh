# extlinux.sh GENERATION… store/DEFAULT: re-enacts generic-extlinux-compatible of nixpkgs, for each directory of $BOOTS (mirroredBoots). With
# STOP=menu it fails before it writes the menu, with STOP=clean behind.
cd $WORK
for last; do :; done
entry() {
	initrd=$(readlink -f store/$2/initrd)
	name=${initrd##*/}
	[ -e $boot/nixos/$name ] || { cp $initrd $boot/nixos/$name.tmp && mv $boot/nixos/$name.tmp $boot/nixos/$name; }
	echo $name >> $boot.used
	printf '\nLABEL nixos-%s\n  MENU LABEL NixOS\n  LINUX ../nixos/kernel\n  INITRD ../nixos/%s\n  APPEND init=%s/init loglevel=4\n' $1 $name $WORK/store/$2
}
for boot in ${BOOTS:-boot}; do
	mkdir -p $boot/nixos $boot/extlinux
	: > $boot.used
	{
		echo 'DEFAULT nixos-default'
		entry default ${last#store/}
		for g; do [ $g = $last ] || entry $g $g; done
	} > $boot/extlinux/extlinux.conf.tmp
	[ "$STOP" != menu ] || exit 9
	mv $boot/extlinux/extlinux.conf.tmp $boot/extlinux/extlinux.conf
	[ "$STOP" != clean ] || exit 9
	for f in $boot/nixos/*; do
		grep -qx ${f##*/} $boot.used || rm $f
	done
done
echo installed ${last#store/}
