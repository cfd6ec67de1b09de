{
  imports = [ ./sops-initrd/modules/sops ];
}
