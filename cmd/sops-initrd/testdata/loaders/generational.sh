# generational.sh GENERATION… store/DEFAULT: re-enacts the bootloader "kernel" of nixos-raspberrypi (nixos-generations-builder.sh): a directory
# for every generation, made once; that of the default is replaced every time. With STOP=default it fails when that was done.
cd $WORK
for last; do :; done
mkdir -p boot/nixos
entry() {
	dir=boot/nixos/$1
	used="$used $1 "
	[ ! -e $dir ] || [ $1 = default ] || return 0
	mkdir -p $dir.tmp.$$
	readlink -f store/$2 > $dir.tmp.$$/system-link
	echo kernel > $dir.tmp.$$/kernel.img
	cp $(readlink -f store/$2/initrd) $dir.tmp.$$/initrd
	echo "loglevel=4 init=$WORK/store/$2/init" > $dir.tmp.$$/cmdline.txt
	[ ! -e $dir ] || mv $dir $dir.bkp.$$
	mv $dir.tmp.$$ $dir
	rm -rf $dir.bkp.$$
}
echo 'os_prefix=nixos/default/' > boot/config.txt
entry default ${last#store/}
[ "$STOP" != default ] || exit 9
for g; do [ $g = $last ] || entry $g-default $g; done
for d in boot/nixos/*; do
	case "$used" in *" ${d##*/} "*) ;; *) rm -rf $d ;; esac
done
echo installed ${last#store/}
