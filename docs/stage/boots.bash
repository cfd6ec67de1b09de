# A server with boot directories of all loaders below /boots: three generations of one host, installed with each in turn. extlinux, rEFInd
# and a Raspberry Pi's are made by the real install-loader and re-enactments of their installers, the others by hand.
set -euo pipefail
if [[ $USER != root ]]; then
  mkdir -p ~/infra
  exec ssh root@server01 bash /.stage/repo/docs/stage/boots.bash
fi
loaders=/.stage/repo/cmd/sops-initrd/testdata/loaders
umask 077
export WORK=/nix
mkdir -p /nix/base /boots
age-keygen -o /nix/key.txt 2>/dev/null
recipient=$(age-keygen -y /nix/key.txt)
sum() { printf %s "$1" | sha256sum | cut -c "1-$2"; }
systems=()
for n in 1 2 3; do
  systems+=("$n$(sum "system $n" 31)-nixos-system-server01-$n")
  sh "$loaders/system.sh" "${systems[-1]}" B "key-$n" "$recipient" key.txt
done

# image SYSTEM FILE: a copy of its initrd with its secrets; secrets SYSTEM FILE: the secrets alone.
image() {
  mkdir -p "${2%/*}"
  cp -L "/nix/store/$1/initrd" "$2"
  secrets "$1" "$2"
}
secrets() { "/nix/store/$1/append-initrd-secrets" "$2" >/dev/null; }

cd /boots
mkdir -p systemd-boot/loader/entries uki/EFI/Linux lanzaboote/EFI/Linux grub/{grub,kernels} limine/limine/kernels
cp -L "/nix/store/${systems[0]}/initrd" grub/kernels/initrd
cp grub/kernels/initrd limine/limine/kernels/initrd
for n in 1 2 3; do
  system=${systems[n - 1]}
  parameters="init=/nix/store/$system/init loglevel=4"

  initrd=EFI/nixos/$(sum "image $n" 64)-initrd.efi
  image "$system" "systemd-boot/$initrd"
  printf 'title NixOS\nversion Generation %s\nlinux /EFI/nixos/kernel.efi\ninitrd /%s\noptions %s\n' "$n" "$initrd" "$parameters" \
    >"systemd-boot/loader/entries/nixos-generation-$n.conf"

  stage-pe "uki/EFI/Linux/nixos-$n.efi" .cmdline <(printf %s "$parameters") .initrd "systemd-boot/$initrd"

  initrd=EFI/nixos/initrd-6.12.0-$(sum "stub $n" 52).efi
  image "$system" "lanzaboote/$initrd"
  stage-pe "lanzaboote/EFI/Linux/nixos-generation-$n.efi" .cmdline <(printf %s "$parameters") .initrd <(printf '\\%s' "${initrd//\//\\}")

  secrets "$system" "grub/kernels/$system-secrets"
  # shellcheck disable=SC2016 # GRUB has variables of its own
  printf 'menuentry "NixOS - Configuration %s" {\n  linux ($drive1)//kernels/kernel %s\n  initrd ($drive1)//kernels/initrd ($drive1)//kernels/%s-secrets\n}\n' \
    "$n" "$parameters" "$system" >>grub/grub/grub.cfg

  module=limine/limine/kernels/kernels-$system-secrets
  sops-initrd append --manifest "/nix/store/$system/append/manifest.json" --state /nix/state --enclose "$module" >/dev/null
  printf '//Generation %s\nprotocol: linux\ncmdline: %s\nmodule_path: boot():/limine/kernels/initrd\nmodule_path: boot():/%s\n' \
    "$n" "$parameters" "${module#limine/}" >>limine/limine/limine.conf
done
chmod 755 /boots limine limine/limine limine/limine/kernels
chmod 644 limine/limine/kernels/*

cd /nix
for kind in extlinux refind raspberrypi; do
  script=$kind
  [[ $kind != raspberrypi ]] || script=generational
  mkdir boot
  BOOTS=boot sops-initrd install-loader --loader $kind --boot /nix/boot --state /nix/state -- \
    sh "$loaders/$script.sh" "${systems[@]}" "store/${systems[2]}" >/dev/null
  mv boot "/boots/$kind"
done
rm -rf /boot/EFI
mkdir -p /boot/loader /boot/EFI
cp -r /boots/systemd-boot/* /boot/
