# The host that the examples beside this file deploy: its disk is unlocked over SSH.
{ config, ... }:
{
  networking.hostName = "server01";
  boot.loader.systemd-boot.enable = true;
  services.openssh.enable = true;
  boot.initrd.luks.devices.root.device = "/dev/disk/by-label/root";
  fileSystems."/".device = "/dev/mapper/root";
  fileSystems."/boot" = {
    device = "/dev/disk/by-label/boot";
    fsType = "vfat";
    options = [ "umask=0077" ];
  };

  sops.defaultSopsFile = ./secrets/server01.yaml;
  sops.secrets.initrd-ssh-key.initrd.only = true;
  boot.initrd.network.enable = true;
  boot.initrd.network.ssh = {
    enable = true;
    port = 2222;
    hostKeys = [ config.sops.secrets.initrd-ssh-key.path ];
  };
}
