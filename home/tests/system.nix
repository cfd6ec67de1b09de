# A system, as both NixOS modules take it.
{ config, pkgs, ... }:
{
  users.users.app = {
    uid = 1000;
    group = "app";
    hashedPasswordFile = config.sops.secrets.password.path;
  };
  users.groups.app.gid = 1000;
  sops = {
    package = pkgs.sops;
    defaultSopsFile = ../../nixos/tests/assets/secrets.yaml;
    age.keyFile = "/var/lib/sops-nix/key.txt";
    keepGenerations = 2;
    secrets = {
      test_key = {
        owner = "app";
        mode = "0440";
        path = "/var/lib/app/key";
        restartUnits = [ "app.service" ];
      };
      "nested/test/file" = { };
      password = {
        key = "luks";
        neededForUsers = true;
      };
      document = {
        sopsFile = ../../nixos/tests/assets/secrets.json;
        format = "json";
        key = "";
      };
    };
    templates."app.conf" = {
      content = "password=${config.sops.placeholder.test_key}";
      owner = "app";
      reloadUnits = [ "app.service" ];
    };
  };
}
