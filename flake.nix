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

      elsewhere =
        what:
        throw "This project has no ${what} module yet: use the one of github:Mic92/sops-nix, with the same options.";
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

      homeManagerModules.sops = elsewhere "home-manager";
      homeManagerModules.default = elsewhere "home-manager";
      homeManagerModule = elsewhere "home-manager";
      homeModules.sops = elsewhere "home-manager";
      homeModules.default = elsewhere "home-manager";
      darwinModules.sops = elsewhere "nix-darwin";
      darwinModules.default = elsewhere "nix-darwin";
    };
}
