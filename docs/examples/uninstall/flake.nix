{
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { nixpkgs, ... }:
    {
      nixosConfigurations.server01 = nixpkgs.lib.nixosSystem {
        system = "x86_64-linux";
        modules = [
          ./configuration.nix
        ]
        # Every file in modules is a part of the configuration.
        ++ nixpkgs.lib.filesystem.listFilesRecursive ./modules;
      };
    };
}
