let
  nixus = builtins.fetchTarball "https://github.com/infinisil/nixus/archive/master.tar.gz";
  sops-initrd = builtins.fetchTarball "https://github.com/sops-initrd/sops-initrd/archive/main.tar.gz";
in
import nixus { } {
  defaults = {
    nixpkgs = <nixpkgs>;
    configuration.imports = [ "${sops-initrd}/modules/sops" ];
  };

  nodes.server01 = {
    host = "root@server01.example.org";
    configuration = ./configuration.nix;
    # Seconds that activation, and the installation of the boot loader, may take before it rolls back.
    switchTimeout = 600;
  };
}
