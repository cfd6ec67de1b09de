# machines ADMIN SERVER: bring the two machines of the stage into the state in which the documentation finds them. Both are
# chroots over a copy of this system.
admin=$1 server=$2

for root in "$admin" "$server"; do
  printf '127.0.0.1 localhost server01\n' >"$root/etc/hosts"
  printf 'hosts: files\n' >"$root/etc/nsswitch.conf"
  grep -q ^keys: "$root/etc/group" || echo keys:x:96: >>"$root/etc/group"
  grep -q ^nogroup: "$root/etc/group" || echo nogroup:x:65534: >>"$root/etc/group"
  rm -rf "$root/nix" "$root/etc/nixos"
  mkdir -p "$root/nix/store" "$root/var/empty" "$root/.stage/state"
  chmod 1777 "$root/.stage/state"
done

# Alice has an account and an SSH key, and has logged in to the server as root before.
sed -i '/^alice:/d' "$admin/etc/passwd" "$admin/etc/group"
echo alice:x:4000:4000::/home/alice:/bin/bash >>"$admin/etc/passwd"
echo alice:x:4000: >>"$admin/etc/group"
mkdir -m 700 "$admin/home/alice" "$admin/home/alice/.ssh"
install -m 600 internal/test/testkeys/testdata/ssh_ed25519_other "$admin/home/alice/.ssh/id_ed25519"
echo "$(cut -d ' ' -f 1,2 internal/test/testkeys/testdata/ssh_ed25519_other.pub) alice@laptop" >"$admin/home/alice/.ssh/id_ed25519.pub"
printf 'BatchMode yes\nStrictHostKeyChecking yes\nLogLevel ERROR\n' >"$admin/home/alice/.ssh/config"
git config --file "$admin/home/alice/.gitconfig" user.name Alice
git config --file "$admin/home/alice/.gitconfig" user.email alice@example.org
git config --file "$admin/home/alice/.gitconfig" init.defaultBranch main

# The server has host keys, a LUKS device and a boot partition.
mkdir -p "$server/etc/ssh" "$server/boot/EFI/nixos" "$server/root/.ssh"
rm -f "$server"/etc/ssh/ssh_host_*
ssh-keygen -q -t ed25519 -N '' -C root@server01 -f "$server/etc/ssh/ssh_host_ed25519_key"
ssh-keygen -q -t rsa -b 2048 -N '' -C root@server01 -f "$server/etc/ssh/ssh_host_rsa_key"
cp "$admin/home/alice/.ssh/id_ed25519.pub" "$server/root/.ssh/authorized_keys"
for key in "$server"/etc/ssh/ssh_host_*.pub; do
  echo "server01 $(cut -d ' ' -f 1,2 "$key")"
done >"$admin/home/alice/.ssh/known_hosts"
truncate -s 20M "$server/dev/vda2"
printf correct-horse |
  cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file - "$server/dev/vda2"
chown -R 4000:4000 "$admin/home/alice"

# It runs a configuration that an installation leaves behind.
mkdir -p "$server/etc/nixos" "$server/sys/class/net/ens3/device"
ln -s ../../../../bus/virtio/drivers/virtio_net "$server/sys/class/net/ens3/device/driver"
cat >"$server/etc/nixos/hardware-configuration.nix" <<'END'
{
  boot.initrd.luks.devices.root.device = "/dev/vda2";
  fileSystems."/" = {
    device = "/dev/mapper/root";
    fsType = "ext4";
  };
  fileSystems."/boot" = {
    device = "/dev/vda1";
    fsType = "vfat";
    options = [ "umask=0077" ];
  };
}
END
cat >"$server/etc/nixos/configuration.nix" <<END
{
  imports = [ ./hardware-configuration.nix ];

  boot.loader.systemd-boot.enable = true;
  networking.hostName = "server01";
  services.openssh.enable = true;
  users.users.root.openssh.authorizedKeys.keys = [ "$(cat "$admin/home/alice/.ssh/id_ed25519.pub")" ];
  system.stateVersion = "26.05";
}
END
