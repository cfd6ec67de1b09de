# One switch, with systemd-boot.
{
  imports = [ ./common/initrd.nix ];
  defaults.boot.loader.systemd-boot.enable = true;
}
