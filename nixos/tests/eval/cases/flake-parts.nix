# The module for flake-parts: checks of hosts, as flake-parts collects them for a system.
{
  lib,
  evaluate,
  pkgs,
  assets,
  ...
}:

let
  host =
    module:
    evaluate {
      config = {
        imports = [ module ];
        sops.defaultSopsFile = lib.mkDefault (assets + "/secrets.yaml");
        sops.secrets.test_key = { };
      };
    }
    // {
      inherit pkgs;
    };

  checksFor =
    system: self:
    (lib.evalModules {
      specialArgs = { inherit self; };
      modules = [
        ../../../../modules/flake-parts.nix
        {
          # flake-parts has it once for each system.
          options.perSystem = lib.mkOption { type = lib.types.deferredModule; };
          options.checks = lib.mkOption { type = lib.types.raw; };
          config.sops-initrd.hostRecipients.known = [ "age1 with spaces\n" ];
        }
        (
          { config, ... }:
          {
            config.checks =
              (lib.evalModules {
                specialArgs = { inherit system; };
                modules = [
                  config.perSystem
                  { options.checks = lib.mkOption { type = lib.types.attrsOf lib.types.raw; }; }
                ];
              }).config.checks;
          }
        )
      ];
    }).config.checks;

  self.nixosConfigurations = {
    plain = host { };
    known = host { sops.hostRecipients = [ "age1own" ]; };
    outside = host {
      sops.validateSopsFiles = false;
      sops.defaultSopsFile = "/etc/secrets.yaml";
    };
    initrd = host { sops.secrets.test_key.neededForInitrd = true; };
    without = {
      inherit pkgs;
      options = { };
      config = { };
    };
  };
  checks = checksFor "x86_64-linux" self;
  command = name: builtins.match ".*/bin/sops-initrd (check[^\"]*) .*" checks.${name}.text;
in
{
  "every host of the system with secrets has a check, and no other" = {
    expr = {
      here = lib.attrNames checks;
      elsewhere = checksFor "aarch64-linux" self;
      nothing = checksFor "x86_64-linux" { };
    };
    expected = {
      here = [
        "sops-host-initrd"
        "sops-host-known"
        "sops-host-outside"
        "sops-host-plain"
      ];
      elsewhere = { };
      nothing = { };
    };
  };

  "recipients of the flake and of the host are asked for" = {
    expr = map command [
      "sops-host-plain"
      "sops-host-known"
      "sops-host-outside"
    ];
    expected = map lib.singleton [
      "check"
      "check --recipient age1own --recipient 'age1 with spaces'"
      "check --manifest-only"
    ];
  };

  "the manifests of activation are checked, and that of an initrd with secrets" = {
    expr = map (
      name: lib.length (lib.splitString ".json" (builtins.head (lib.splitString "; do" checks.${name}.text))) - 1
    ) [ "sops-host-plain" "sops-host-initrd" ];
    expected = [
      2
      3
    ];
  };
}
