{
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
  inputs.sops-initrd.url = "github:sops-initrd/sops-initrd";
  inputs.sops-initrd.inputs.nixpkgs.follows = "nixpkgs";
  inputs.colmena.url = "github:zhaofengli/colmena";

  outputs =
    {
      nixpkgs,
      sops-initrd,
      colmena,
      ...
    }:
    {
      colmenaHive = colmena.lib.makeHive {
        meta.nixpkgs = import nixpkgs { system = "x86_64-linux"; };

        defaults.imports = [ sops-initrd.nixosModules.sops ];

        server01 = {
          imports = [ ../configuration.nix ];
          deployment.targetHost = "server01.example.org";
        };
      };
    };
}
