{ pkgs, ... }:
{
  sops.age.plugins = [ pkgs.age-plugin-tpm ];
  sops.age.keyFile = "/var/lib/sops-nix/key.txt";
}
