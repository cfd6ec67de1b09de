{ config, ... }:
{
  sops.defaultSopsFile = ../secrets/services.yaml;
  sops.secrets.wireguard-key.neededForInitrd = true;
  boot.initrd.secrets."/etc/wireguard.key" = config.sops.secrets.wireguard-key.path;
}
