# refind.sh GENERATION… store/DEFAULT
cd $WORK
mkdir -p efi/efi/refind/kernels
for last; do :; done
for g; do
	[ $g = $last ] && continue
	initrd=$(readlink -f store/$g/initrd)
	cp $initrd efi/efi/refind/kernels/
	printf 'menuentry "%s" {\n  loader /efi/refind/kernels/kernel\n  initrd /efi/refind/kernels/%s\n  options "init=%s/init quiet"\n}\n' $g ${initrd##*/} $WORK/store/$g
done > efi/efi/refind/refind.conf
