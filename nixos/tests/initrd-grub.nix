# One switch, with GRUB, which loads the secrets as a second initrd.
{
  imports = [ ./common/initrd.nix ];
  defaults = {
    boot.loader.grub.enable = true;
    virtualisation.useEFIBoot = false;
  };
}
