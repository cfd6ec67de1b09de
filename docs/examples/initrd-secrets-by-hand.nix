{
  boot.initrd.secrets."/etc/wireguard.key" = "/root/wireguard.key";
}
