{ config, ... }:
{
  boot.initrd.systemd.enable = true;

  sops.initrd.seal.enable = true;
  sops.secrets.luks-root = {
    sopsFile = ../secrets/server01-luks.yaml;
    neededForInitrd = true;
  };
  boot.initrd.luks.devices.root.keyFile = config.sops.secrets.luks-root.path;
}
