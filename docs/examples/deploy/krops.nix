let
  krops = builtins.fetchGit { url = "https://cgit.krebsco.de/krops/"; };
  lib = import "${krops}/lib";
  pkgs = import "${krops}/pkgs" { };
in
pkgs.krops.writeDeploy "deploy-server01" {
  target = "root@server01.example.org";
  source = lib.evalSource [
    {
      nixpkgs.git = {
        url = "https://github.com/NixOS/nixpkgs";
        ref = "nixos-unstable";
        shallow = true;
      };
      sops-initrd.git = {
        url = "https://github.com/sops-initrd/sops-initrd";
        ref = "main";
      };
      # configuration.nix imports <sops-initrd/modules/sops>; its sops files, encrypted, lie beside it.
      config.file = toString ./.;
      nixos-config.symlink = "config/krops-configuration.nix";
    }
  ];
}
