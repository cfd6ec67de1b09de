# efistub.sh GENERATION… store/DEFAULT: re-enacts efi-boot-stub-builder.sh of early NixOS, without efibootmgr: a script for the
# shell of the firmware for every generation, made once.
cd $WORK
for last; do :; done
mkdir -p boot/efi/nixos
used=' '
for g; do
	[ $g != $last ] || continue
	initrd=$(readlink -f store/$g/initrd)
	name=${initrd##*/}-initrd-initrd
	[ -e boot/efi/nixos/$name ] || { cp $initrd boot/efi/nixos/$name.tmp && mv boot/efi/nixos/$name.tmp boot/efi/nixos/$name; }
	script=generation-$g-startup.nsh
	[ -e boot/efi/nixos/$script ] || printf '\\efi\\nixos\\bzImage.efi systemConfig=%s init=%s/init initrd=\\efi\\nixos\\%s loglevel=4\n' $WORK/store/$g $WORK/store/$g $name > boot/efi/nixos/$script
	used="$used$name $script "
	[ store/$g != $last ] || sed 's|.*bzImage.efi|bzImage.efi|' < boot/efi/nixos/$script > boot/startup.nsh
done
for f in boot/efi/nixos/*; do
	case "$used" in *" ${f##*/} "*) ;; *) rm $f ;; esac
done
echo installed ${last#store/}
