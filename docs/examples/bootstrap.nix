{ config, ... }:
{
  sops.secrets.initrd-ssh-key = {
    sopsFile = ./secrets/server01.yaml;
    initrd.only = true;
  };
  boot.initrd.network.enable = true;
  boot.initrd.network.ssh = {
    enable = true;
    port = 2222;
    hostKeys = [ config.sops.secrets.initrd-ssh-key.path ];
  };

  sops.secrets.luks-root = {
    sopsFile = ./secrets/server01.yaml;
    neededForInitrd = true;
  };
  boot.initrd.luks.devices.root.keyFile = config.sops.secrets.luks-root.path;
}
