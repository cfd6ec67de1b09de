# numtide/system-manager: on a Debian or Ubuntu whose units Nix makes, regular secrets are installed by
# the unit, and nothing asks for an initrd.
{
  lib,
  pkgs,
  assets,
  ...
}:

let
  config =
    (lib.evalModules {
      modules = [
        ../stand-ins/system-manager.nix
        ../../../../modules/sops
        { _module.args.pkgs = pkgs; }
        (
          { config, ... }:
          {
            sops.defaultSopsFile = assets + "/secrets.yaml";
            sops.age.keyFile = "/var/lib/sops-nix/key.txt";
            sops.age.generateKey = true;
            sops.secrets.test_key.restartUnits = [ "app.service" ];
            sops.secrets.password.neededForUsers = true;
            sops.templates.t.content = config.sops.placeholder.test_key;
          }
        )
      ];
    }).config;
in
{
  "secrets are installed by units" = {
    expr = {
      services = lib.mapAttrs (_: s: s.wantedBy) (
        lib.filterAttrs (name: _: lib.hasPrefix "sops" name) config.systemd.services
      );
      manifest = map (s: s.name) (builtins.fromJSON (
        builtins.unsafeDiscardStringContext config.system.build.sops-nix-manifest.text
      )).secrets;
      faults = builtins.filter (a: !a.assertion) config.assertions;
      inherit (config) warnings;
      packages = map (p: p.name) config.environment.systemPackages;
      inherit (config.systemd.tmpfiles) rules;
    };
    expected = {
      services = {
        sops-install-secrets = [
          "sysinit.target"
          "sysinit-reactivation.target"
        ];
        sops-install-secrets-for-users = [
          "systemd-sysusers.service"
          "sysinit-reactivation.target"
        ];
      };
      manifest = [ "test_key" ];
      faults = [ ];
      warnings = [ ];
      packages = [ ];
      rules = [ ];
    };
  };
}
