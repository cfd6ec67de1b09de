{
  imports = [
    <sops-initrd/modules/sops>
    ./configuration.nix
  ];
}
