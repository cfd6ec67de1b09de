# The tests of nixos/tests, which run in virtual machines: their machines, specialisations included,
# evaluate, and nothing is wrong with them. What they find out is not known here.
{
  lib,
  evaluate,
  pkgs,
  ...
}:

let
  tests = import ../.. { inherit pkgs; };

  # Every machine of a test, by name, and each of its specialisations as "machine/name".
  machines =
    test:
    lib.fix (
      self:
      lib.concatMapAttrs (
        name: module:
        let
          build =
            extra:
            evaluate {
              loader = "none";
              sshd = false;
              config.imports = [
                ../stand-ins/virtual-machine.nix
                test.defaults
                module
                { _module.args.nodes = lib.mapAttrs (_: m: m.config) self; }
              ]
              ++ extra;
            };
          plain = build [ ];
        in
        {
          ${name} = plain;
        }
        // lib.mapAttrs' (
          specialisation: s: lib.nameValuePair "${name}/${specialisation}" (build [ s.configuration ])
        ) plain.config.specialisation
      ) test.nodes
    );

  script =
    test: nodes:
    if builtins.isString test.testScript then
      test.testScript
    else
      test.testScript { nodes = lib.mapAttrs (_: m: m.config) nodes; };
in
{
  "every file is a test" = {
    expr = builtins.attrNames tests;
    expected = map (name: "nixos-${name}") [
      "age-keys"
      "age-ssh-keys"
      "initrd-grub"
      "initrd-rotation"
      "initrd-systemd-boot"
      "initrd-templates"
      "partial-failure"
      "passwords-scripts"
      "passwords-sysusers"
      "passwords-userborn"
      "pgp-keys"
      "pruning"
      "restart-and-reload"
      "ssh-keys"
      "templates"
    ];
  };
}
// lib.mapAttrs (
  name:
  { test, ... }:
  let
    nodes = machines test;
  in
  {
    expr = {
      faults = lib.filterAttrs (_: f: f != [ ]) (lib.mapAttrs (_: m: m.faults) nodes);
      # Everything that a machine runs is evaluated.
      evaluated = builtins.all (m: builtins.deepSeq [
        m.manifest
        m.usersManifest
        m.initrdManifest
        m.hook
        m.config.system.activationScripts
        m.config.systemd.services
        m.config.boot.initrd.systemd.services
      ] true) (builtins.attrValues nodes);
      scripted = lib.hasInfix "wait_for_unit" (script test nodes);
    };
    expected = {
      faults = { };
      evaluated = true;
      scripted = true;
    };
  }
) tests
