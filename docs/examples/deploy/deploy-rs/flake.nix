{
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
  inputs.sops-initrd.url = "github:sops-initrd/sops-initrd";
  inputs.sops-initrd.inputs.nixpkgs.follows = "nixpkgs";
  inputs.deploy-rs.url = "github:serokell/deploy-rs";

  outputs =
    {
      self,
      nixpkgs,
      sops-initrd,
      deploy-rs,
      ...
    }:
    {
      nixosConfigurations.server01 = nixpkgs.lib.nixosSystem {
        system = "x86_64-linux";
        modules = [
          sops-initrd.nixosModules.sops
          ../configuration.nix
        ];
      };

      deploy.nodes.server01 = {
        hostname = "server01.example.org";
        sshUser = "root";
        # The boot loader is installed within this time, for every generation of the menu.
        activationTimeout = 600;
        profiles.system = {
          user = "root";
          path = deploy-rs.lib.x86_64-linux.activate.nixos self.nixosConfigurations.server01;
        };
      };
    };
}
