# The options that all secrets of a system share.
{ formats, paths, ... }:
{
  config,
  lib,
  options,
  pkgs,
  ...
}:

let
  inherit (lib)
    literalMD
    mkOption
    mkRenamedOptionModule
    types
    ;

  cfg = config.sops;

  common = import ./common-options.nix {
    inherit
      lib
      pkgs
      cfg
      formats
      paths
      ;
    generations = "/run/secrets.d";
    searchPath = ''
      Programs that keys need belong in
      {option}`sops.age.plugins`, not in `PATH`.'';
  };

  # A key that sops itself installs cannot be what sops files are decrypted with: after a boot it is
  # not there yet.
  installedBySops =
    path:
    lib.hasPrefix "/run/secrets" path
    || builtins.any (s: s.path == path) (builtins.attrValues cfg.secrets);
  hostKeys =
    type:
    lib.optionals config.services.openssh.enable (
      builtins.filter (path: !installedBySops (paths.plain path)) (
        map (key: key.path) (
          builtins.filter (key: key.type == type) config.services.openssh.hostKeys
        )
      )
    );

  # Users made by a unit exist only after activation scripts have run; and from 26.11 on, NixOS
  # deprecates the scripts and drops what restarts units for them (nixpkgs #473367, #557322).
  unitsByDefault =
    config.systemd.sysusers.enable or false
    || config.services.userborn.enable or false
    || lib.versionAtLeast (config.system.nixos.release or "") "26.11";
in
{
  imports = [
    (mkRenamedOptionModule [ "sops" "gnupgHome" ] [ "sops" "gnupg" "home" ])
    (mkRenamedOptionModule [ "sops" "sshKeyPaths" ] [ "sops" "gnupg" "sshKeyPaths" ])
  ];

  options.sops = common // {
    useTmpfs = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether secrets are kept in a tmpfs instead of a ramfs.

        A ramfs is never written to swap. A tmpfs is not either where the kernel knows its `noswap`
        option (6.4 and newer); with an older kernel secrets may reach an unencrypted swap device:
        set {option}`swapDevices.*.randomEncryption.enable` there.
      '';
    };

    useSystemdActivation = mkOption {
      type = types.bool;
      default = unitsByDefault;
      defaultText = literalMD "`true` from NixOS 26.11 on, and where users are created by systemd-sysusers or userborn";
      description = ''
        Whether secrets are installed by {file}`sops-install-secrets.service` instead of the
        activation script `setupSecrets`. systemd-sysusers and userborn create users only after
        activation scripts have run, and NixOS 26.11 deprecates activation scripts. With the unit
        you can also order other units, such as the mount of a key, before the installation.

        Secrets that are needed for users are installed by a unit if, and only if, users are created
        by one.
      '';
    };

    age = common.age // {
      generateKey = common.age.generateKey // {
        description = ''
          Whether {option}`sops.age.keyFile` is created when it does not exist; its recipient is
          printed once. It is created at activation, so a secret that is needed in the initrd cannot
          be decrypted with it at the first switch.
        '';
      };

      sshKeyPaths = common.age.sshKeyPaths // {
        default = hostKeys "ed25519";
        defaultText = literalMD "the ed25519 keys of {option}`services.openssh.hostKeys` that sops does not install";
      };
    };

    gnupg = common.gnupg // {
      sshKeyPaths = common.gnupg.sshKeyPaths // {
        default = hostKeys "rsa";
        defaultText = literalMD "the RSA keys of {option}`services.openssh.hostKeys` that sops does not install";
      };
    };
  };

  config = lib.mkIf (cfg.gnupg.home != null) {
    sops.environment.SOPS_GPG_EXEC = lib.mkDefault "${cfg.gnupg.package}/bin/gpg";
  };
}
