# efistub.sh GENERATION… store/DEFAULT: re-enacts efi-boot-stub-builder.sh of early NixOS: a script for the shell of the firmware for every
# generation, made once, and, where there is a directory efivars, with efibootmgr a boot entry of the firmware, made anew.
cd $WORK
for last; do :; done
mkdir -p boot/efi/nixos
used=' '
guid=8be4df61-93ca-11d2-aa0d-00e098032b8c
utf16() { iconv -f UTF-8 -t UTF-16LE; }
efibootmgr() { # NUMBER TITLE PARAMETERS: attributes, a device path that is only its end, and the texts
	{
		printf '\007\000\000\000\001\000\000\000\004\000'
		printf '%s\0' "$2" | utf16
		printf '\177\377\004\000'
		printf %s "$3" | utf16
	} > efivars/Boot000$1-$guid.new
	mv efivars/Boot000$1-$guid.new efivars/Boot000$1-$guid
}
rm -f efivars/Boot000[1-9]-$guid
number=1
for g; do
	[ $g != $last ] || continue
	initrd=$(readlink -f store/$g/initrd)
	name=${initrd##*/}-initrd-initrd
	[ -e boot/efi/nixos/$name ] || { cp $initrd boot/efi/nixos/$name.tmp && mv boot/efi/nixos/$name.tmp boot/efi/nixos/$name; }
	script=generation-$g-startup.nsh
	parameters="systemConfig=$WORK/store/$g init=$WORK/store/$g/init initrd=\\efi\\nixos\\$name loglevel=4"
	[ -e boot/efi/nixos/$script ] || printf '%s %s\n' '\efi\nixos\bzImage.efi' "$parameters" > boot/efi/nixos/$script
	[ ! -d efivars ] || efibootmgr $number "NixOS $g Generation" "$parameters"
	number=$((number + 1))
	used="$used$name $script "
	[ store/$g != $last ] || sed 's|.*bzImage.efi|bzImage.efi|' < boot/efi/nixos/$script > boot/startup.nsh
done
for f in boot/efi/nixos/*; do
	case "$used" in *" ${f##*/} "*) ;; *) rm $f ;; esac
done
echo installed ${last#store/}
