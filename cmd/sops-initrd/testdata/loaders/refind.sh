# refind.sh GENERATION… store/DEFAULT: re-enacts refind-install.py of nixpkgs, in the directory $BOOTS.
cd $WORK
boot=${BOOTS:-efi}
mkdir -p $boot/efi/refind/kernels
for last; do :; done
used=' '
for g; do
	[ $g = $last ] && continue
	initrd=$(readlink -f store/$g/initrd)
	name=${initrd##*/}
	[ -e $boot/efi/refind/kernels/$name ] || { cp $initrd $boot/efi/refind/kernels/$name.tmp && mv $boot/efi/refind/kernels/$name.tmp $boot/efi/refind/kernels/$name; }
	used="$used$name "
	printf 'menuentry "%s" {\n  loader /efi/refind/kernels/kernel\n  initrd /efi/refind/kernels/%s\n  options "init=%s/init quiet"\n}\n' $g $name $WORK/store/$g
done > refind.conf.tmp
mv refind.conf.tmp $boot/efi/refind/refind.conf
for f in $boot/efi/refind/kernels/*; do
	case "$used" in *" ${f##*/} "*) ;; *) rm $f ;; esac
done
echo installed ${last#store/}
