{
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
  inputs.sops-nix.url = "github:sops-initrd/sops-initrd"; # was github:Mic92/sops-nix
  inputs.sops-nix.inputs.nixpkgs.follows = "nixpkgs";

  outputs =
    { nixpkgs, sops-nix, ... }:
    {
      nixosConfigurations.server01 = nixpkgs.lib.nixosSystem {
        system = "x86_64-linux";
        modules = [
          sops-nix.nixosModules.sops
          ./configuration.nix
          ./initrd-unlock.nix
        ];
      };
    };
}
