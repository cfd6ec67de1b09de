let
  sops-initrd = builtins.fetchTarball "https://github.com/sops-initrd/sops-initrd/archive/main.tar.gz";
in
{
  network.pkgs = import <nixpkgs> { };

  server01 = {
    imports = [
      "${sops-initrd}/modules/sops"
      ./configuration.nix
    ];
    deployment.targetHost = "server01.example.org";
    deployment.targetUser = "root";
  };
}
