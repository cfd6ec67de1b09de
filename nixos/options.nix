# The options that all secrets share: where sops files and keys are, and which programs are used.
{
  environment,
  formats,
  paths,
  ...
}:
{
  config,
  lib,
  options,
  pkgs,
  ...
}:

let
  inherit (lib)
    literalExpression
    literalMD
    mkOption
    mkRenamedOptionModule
    types
    ;

  cfg = config.sops;
  programs = import ../default.nix { inherit pkgs; };
  buildPrograms = import ../default.nix { pkgs = pkgs.pkgsBuildHost; };

  privateKeyPath = types.addCheck types.path (path: !paths.inStore path) // {
    name = "privateKeyPath";
    description = "absolute path outside of the Nix store";
    descriptionClass = "noun";
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

  options.sops = {
    defaultSopsFile = mkOption {
      type = types.path;
      example = literalExpression "./secrets.yaml";
      description = "The sops file of every secret that does not name its own.";
    };

    defaultSopsFormat = mkOption {
      type = types.enum formats.all;
      default = "yaml";
      description = "The format of every sops file whose secret does not name its own.";
    };

    defaultSopsKey = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "";
      description = ''
        The key of every secret that does not name its own; `""` stands for the whole file. When it
        is `null`, the name of the secret is its key. Secrets in binary, dotenv and INI files are
        whole files unless they say otherwise.
      '';
    };

    validateSopsFiles = mkOption {
      type = types.bool;
      default = true;
      description = ''
        Whether every sops file has to exist and to be in the Nix store when the configuration is
        evaluated, and is checked when it is built: that it is a sops file, and that it has the keys
        which the secrets use.
      '';
    };

    hostRecipients = mkOption {
      type = types.listOf types.singleLineStr;
      default = [ ];
      example = [ "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI… root@server" ];
      description = ''
        The public keys of this host: age recipients, SSH public keys or OpenPGP fingerprints. When
        there are any, the build fails for a sops file that is encrypted for none of them, instead
        of the host when it switches.
      '';
    };

    keepGenerations = mkOption {
      type = types.ints.unsigned;
      default = 1;
      description = ''
        How many generations of secrets are kept in {file}`/run/secrets.d`, the current one
        included. `0` keeps all of them.
      '';
    };

    log = mkOption {
      type = types.listOf (
        types.enum [
          "keyImport"
          "secretChanges"
        ]
      );
      default = [
        "keyImport"
        "secretChanges"
      ];
      description = ''
        What the installation of secrets reports: the keys that it uses, and the secrets that it
        changes.
      '';
    };

    environment = mkOption {
      type = types.attrsOf (types.either types.str types.path);
      default = { };
      # sops-nix copies a Nix path into the store. Here it stays what it is: a path on the host.
      apply = lib.mapAttrs (_: paths.hostPath);
      example = literalExpression ''{ SOPS_AGE_KEY_CMD = "/run/wrappers/bin/fetch-key"; }'';
      description = ''
        Environment variables of {command}`sops-install-secrets`. Values are taken literally, in
        activation scripts as in units: write them without quotes and without escaping. A Nix path
        stands for the file on the host. Programs that keys need belong in
        {option}`sops.age.plugins`, not in `PATH`.
      '';
    };

    package = mkOption {
      type = types.package;
      default = programs.sops-install-secrets;
      defaultText = literalExpression "(import ./default.nix { inherit pkgs; }).sops-install-secrets";
      description = "The package with {command}`sops-install-secrets`.";
    };

    validationPackage = mkOption {
      type = types.package;
      default =
        if pkgs.stdenv.buildPlatform == pkgs.stdenv.hostPlatform then
          cfg.package
        else
          buildPrograms.sops-install-secrets;
      defaultText = literalExpression "config.sops.package, built for the building platform";
      description = ''
        The package with the {command}`sops-install-secrets` that checks manifests when they are
        built.
      '';
    };

    keyTimeout = mkOption {
      type = types.ints.between 1 86400;
      default = 30;
      description = ''
        How many seconds are waited for each program and key service that is asked for a key:
        {command}`gpg`, plugins of age, the key management of a cloud. One that does not answer
        counts as one that has no key.
      '';
    };

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

    age = {
      keyFile = mkOption {
        type = types.nullOr privateKeyPath;
        default = null;
        apply = path: if path == null then null else paths.hostPath path;
        example = "/var/lib/sops-nix/key.txt";
        description = "A file of age identities that sops files are decrypted with.";
      };

      plugins = mkOption {
        type = types.listOf types.package;
        default = [ ];
        example = literalExpression "[ pkgs.age-plugin-tpm ]";
        description = ''
          Packages with the age plugins ({command}`age-plugin-*`) that identities or sops files
          need.
        '';
      };

      generateKey = mkOption {
        type = types.bool;
        default = false;
        description = ''
          Whether {option}`sops.age.keyFile` is created when it does not exist; its recipient is
          printed once. It is created at activation, so a secret that is needed in the initrd cannot
          be decrypted with it at the first switch.
        '';
      };

      sshKeyPaths = mkOption {
        type = types.listOf types.path;
        default = hostKeys "ed25519";
        defaultText = literalMD "the ed25519 keys of {option}`services.openssh.hostKeys` that sops does not install";
        apply = map paths.hostPath;
        description = "SSH private keys that are used as age identities.";
      };
    };

    gnupg = {
      home = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "/root/.gnupg";
        description = ''
          The GnuPG home directory with the keys that sops files are decrypted with. It is used
          through {command}`gpg`, so that smart cards and agents work.
        '';
      };

      sshKeyPaths = mkOption {
        type = types.listOf types.path;
        default = hostKeys "rsa";
        defaultText = literalMD "the RSA keys of {option}`services.openssh.hostKeys` that sops does not install";
        apply = map paths.hostPath;
        description = ''
          SSH RSA private keys that are used as OpenPGP keys, without gnupg. Set it to `[ ]` where
          {option}`sops.gnupg.home` is used.
        '';
      };

      package = mkOption {
        type = types.package;
        default = pkgs.gnupg;
        defaultText = literalExpression "pkgs.gnupg";
        description = "The gnupg package that {option}`sops.gnupg.home` is used with.";
      };
    };
  };

  config = lib.mkIf (cfg.gnupg.home != null) {
    sops.environment.SOPS_GPG_EXEC = lib.mkDefault "${cfg.gnupg.package}/bin/gpg";
  };
}
