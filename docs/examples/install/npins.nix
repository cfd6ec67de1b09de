{
  imports = [ "${(import ./npins).sops-initrd}/modules/sops" ];
}
