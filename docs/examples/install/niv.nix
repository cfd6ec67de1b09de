{
  imports = [ "${(import ./nix/sources.nix).sops-initrd}/modules/sops" ];
}
