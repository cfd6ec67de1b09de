# The table of what NixOS is: releases, what creates users, scripts or units, and kinds of stage 1. In
# every cell a host with every kind of secret is installed by what its release has, and nothing is wrong.
{
  lib,
  evaluate,
  assets,
  ...
}:

let
  cells = lib.cartesianProduct {
    release = [
      "25.11"
      "26.05"
      "26.11"
      "27.05"
    ];
    users = [
      "scripts"
      "sysusers"
      "userborn"
    ];
    # null: what the module decides
    units = [
      null
      true
      false
    ];
    systemdStage1 = [
      true
      false
    ];
  };

  # A scripted stage 1 is removed in 26.11.
  exists = cell: cell.systemdStage1 || lib.versionOlder cell.release "26.11";

  inherit (lib) boolToString;
  name =
    cell:
    "${cell.release}, users by ${cell.users}, "
    + (if cell.units == null then "by default" else "useSystemdActivation ${boolToString cell.units}")
    + ", ${if cell.systemdStage1 then "systemd" else "scripted"} stage 1";

  host =
    cell:
    evaluate {
      inherit (cell) release users systemdStage1;
      newBuilder = lib.versionAtLeast cell.release "26.11";
      config =
        { config, ... }:
        {
          sops.defaultSopsFile = assets + "/secrets.yaml";
          sops.useSystemdActivation = lib.mkIf (cell.units != null) cell.units;
          sops.secrets = {
            test_key = { };
            password.neededForUsers = true;
            luks.neededForInitrd = true;
          };
          sops.templates.t.content = config.sops.placeholder.test_key;
          # Others order their scripts by ours, in every cell.
          system.activationScripts.other = lib.stringAfter [ "setupSecrets" "setupSecretsForUsers" ] "true";
        };
    };

  runs = text: if lib.hasInfix "/bin/sops-install-secrets " text then "script" else "nothing";
  outcome =
    cell:
    let
      r = host cell;
      scripts = r.config.system.activationScripts;
      by =
        script: unit:
        lib.concatStringsSep " and " (
          builtins.filter (how: how != "nothing") [
            (runs scripts.${script}.text)
            (if r.config.systemd.services ? ${unit} then "unit" else "nothing")
          ]
        );
    in
    {
      inherit (r) faults;
      warnings = builtins.length r.warnings;
      regular = by "setupSecrets" "sops-install-secrets";
      users = by "setupSecretsForUsers" "sops-install-secrets-for-users";
      ordered = builtins.all (dep: scripts ? ${dep}) (scripts.other.deps ++ scripts.users.deps or [ ]);
      stage1 =
        if r.config.boot.initrd.systemd.services ? initrd-nixos-copy-secrets then
          "systemd"
        else if lib.hasInfix "sops_place" r.config.boot.initrd.preDeviceCommands then
          "scripted"
        else
          "neither";
      inherit (r.config.sops.initrd) separateImages;
    };
in
lib.listToAttrs (
  map (
    cell:
    lib.nameValuePair (name cell) {
      expr = outcome cell;
      expected = {
        faults = [ ];
        warnings = 0;
        regular =
          if cell.units != null && cell.units || cell.units == null && (
            cell.users != "scripts" || lib.versionAtLeast cell.release "26.11"
          ) then
            "unit"
          else
            "script";
        users = if cell.users == "scripts" then "script" else "unit";
        ordered = true;
        stage1 = if cell.systemdStage1 then "systemd" else "scripted";
        separateImages = lib.versionOlder cell.release "26.11";
      };
    }
  ) (builtins.filter exists cells)
)
