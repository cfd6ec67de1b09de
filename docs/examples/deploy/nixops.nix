let
  sops-initrd = builtins.fetchTarball "https://github.com/sops-initrd/sops-initrd/archive/main.tar.gz";
in
{
  network.description = "servers";
  network.storage.legacy = { };

  server01 = {
    imports = [
      "${sops-initrd}/modules/sops"
      ./configuration.nix
    ];
    deployment.targetHost = "server01.example.org";
  };
}
