{ config, ... }:
{
  sops.defaultSopsFile = ./secrets.yaml;
  sops.secrets.initrd-ssh-key.neededForInitrd = true;
  boot.initrd.network.enable = true;
  boot.initrd.network.ssh = {
    enable = true;
    port = 2222;
    hostKeys = [ config.sops.secrets.initrd-ssh-key.path ];
  };
}
