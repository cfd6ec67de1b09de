# The options that the modules for systems and for users have in common: where sops files and keys
# are, and which programs are used.
{
  lib,
  pkgs,
  cfg, # config.sops
  formats,
  paths,
  generations, # where they are kept
  searchPath, # a sentence about PATH
}:

let
  inherit (lib) literalExpression mkOption types;

  programs = import ../default.nix { inherit pkgs; };
  buildPrograms = import ../default.nix { pkgs = pkgs.pkgsBuildHost; };

  privateKeyPath = types.addCheck types.path (path: !paths.inStore path) // {
    name = "privateKeyPath";
    description = "absolute path outside of the Nix store";
    descriptionClass = "noun";
  };
in
{
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
      How many generations of secrets are kept in {file}`${generations}`, the current one
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
      stands for the file on the host. ${searchPath}
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
        printed once.
      '';
    };

    sshKeyPaths = mkOption {
      type = types.listOf types.path;
      default = [ ];
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
      default = [ ];
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
}
