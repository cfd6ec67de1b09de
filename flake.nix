{
  description = "NixOS secrets from sops files, at activation and in the initrd";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;

      linux = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      # The machines of a team's administrators.
      darwin = [
        "x86_64-darwin"
        "aarch64-darwin"
      ];
      each = systems: f: lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});
      eachSystem = each (linux ++ darwin);

      noDarwinModule = throw (
        "This project has no nix-darwin module: add the input github:Mic92/sops-nix, "
        + "and import its darwinModules.sops, with the same options."
      );
    in
    {
      nixosModules = {
        sops = ./modules/sops;
        default = self.nixosModules.sops;
      };

      overlays.default = import ./nix/overlay.nix;

      packages = eachSystem (pkgs: import ./default.nix { inherit pkgs; });
      checks = each linux (pkgs: import ./nix/checks.nix { inherit pkgs; });
      devShells = eachSystem (pkgs: {
        default = pkgs.callPackage ./nix/shell.nix { };
      });
      formatter = eachSystem (pkgs: pkgs.nixfmt-tree);

      homeManagerModules = {
        sops = ./modules/home-manager/sops.nix;
        default = self.homeManagerModules.sops;
      };
      homeManagerModule = self.homeManagerModules.sops;
      homeModules = self.homeManagerModules;

      flakeModules.default = ./modules/flake-parts.nix;
      flakeModule = self.flakeModules.default;

      darwinModules.sops = noDarwinModule;
      darwinModules.default = noDarwinModule;
    };
}
