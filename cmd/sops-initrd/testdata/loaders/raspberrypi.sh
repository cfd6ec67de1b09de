# raspberrypi.sh RECORDS GENERATION… store/DEFAULT: re-enacts raspberrypi-builder.sh of nixpkgs (until 24.05, RECORDS is old) and
# kernelboot-builder.sh of nixos-raspberrypi (nixos-kernels). With STOP=initrd it fails when the default's initrd has been copied.
cd $WORK
records=boot/$1
shift
for last; do :; done
mkdir -p $records
used=' '
forced() {
	cp $1 $2.tmp
	mv $2.tmp $2
}
entry() {
	initrd=$(readlink -f store/$2/initrd)
	copy=$records/${initrd##*/}-initrd-initrd
	[ -e $copy ] || forced $initrd $copy
	used="$used$copy "
	echo $WORK/store/$2 > $records/$1-system
	echo $WORK/store/$2/init > $records/$1-init
	echo loglevel=4 > $records/$1-cmdline.txt
	echo $WORK/$copy > $records/$1-initrd
	echo $WORK/$records/kernel > $records/$1-kernel
	[ $1 = default ] || return 0
	echo kernel > boot/kernel.img
	forced $copy boot/initrd
	[ "$STOP" != initrd ] || exit 9
	echo "loglevel=4 init=$WORK/store/$2/init" > boot/cmdline.txt
}
entry default ${last#store/}
for g; do [ $g = $last ] || entry $g $g; done
echo 'initramfs initrd followkernel' > boot/config.txt.tmp
mv boot/config.txt.tmp boot/config.txt
for f in $records/*initrd-initrd*; do
	case "$used" in *" $f "*) ;; *) rm -f $f ;; esac
done
echo installed ${last#store/}
