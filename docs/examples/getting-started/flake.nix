{
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
  inputs.sops-initrd.url = "github:sops-initrd/sops-initrd";
  inputs.sops-initrd.inputs.nixpkgs.follows = "nixpkgs";

  outputs =
    { nixpkgs, sops-initrd, ... }:
    {
      nixosConfigurations.server01 = nixpkgs.lib.nixosSystem {
        system = "x86_64-linux";
        modules = [
          sops-initrd.nixosModules.sops
          ./configuration.nix
          ./initrd-unlock.nix
        ]
        # Every file in modules is a part of the configuration.
        ++ nixpkgs.lib.filesystem.listFilesRecursive ./modules;
      };
    };
}
