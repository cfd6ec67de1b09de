# What a type cannot say about a user's secrets: each message names the option, what is wrong, and
# what to set.
{ checks, ... }:
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.sops;
  inherit (cfg) gnupg;
  qubes = gnupg.qubes-split-gpg;

  failing = message: {
    assertion = false;
    inherit message;
  };

  # systemd expanded these in sops-nix's unit.
  specifiers = lib.filterAttrs (_: value: builtins.match ".*%[a-zA-Z].*" value != null) cfg.environment;
in
{
  config = lib.mkIf (cfg.secrets != { } || cfg.templates != { }) {
    assertions = [
      {
        assertion = pkgs.stdenv.hostPlatform.isLinux;
        message =
          "this module installs secrets on Linux only: for a Mac add the input github:Mic92/sops-nix, "
          + "and import its homeManagerModules.sops there instead of this one, with the same options"
        ;
      }
      {
        assertion =
          cfg.secrets != { } -> checks.keyPaths cfg != [ ] || gnupg.home != null || qubes.enable;
        message =
          "sops has no key to decrypt secrets with: set sops.age.keyFile, sops.age.sshKeyPaths, "
          + "sops.gnupg.sshKeyPaths, sops.gnupg.home or sops.gnupg.qubes-split-gpg.enable";
      }
      {
        assertion =
          lib.count (used: used) [
            (gnupg.home != null)
            (gnupg.sshKeyPaths != [ ])
            qubes.enable
          ] <= 1;
        message =
          "only one of sops.gnupg.home, sops.gnupg.sshKeyPaths and sops.gnupg.qubes-split-gpg.enable "
          + "can be used; unset the others";
      }
      {
        assertion = qubes.enable -> qubes.domain != null && qubes.domain != "";
        message =
          "sops.gnupg.qubes-split-gpg.enable needs sops.gnupg.qubes-split-gpg.domain, "
          + "the qube that has the keys";
      }
      (checks.keyFileSet cfg)
    ]
    ++ map failing (
      checks.installedKeys cfg
      ++ lib.concatLists (builtins.attrValues cfg.manifest.fileFaults)
      ++ checks.variableFaults { "sops.environment" = cfg.environment; }
    );

    warnings =
      checks.keysInStore cfg
      ++ map (
        name:
        "sops.environment.${name} is taken literally: write the path instead of a specifier of systemd (%h, %t)"
      ) (lib.attrNames specifiers);
  };
}
