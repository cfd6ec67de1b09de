# What secrets and templates have in common, as a module of their submodules: a name, a place, an
# owner, units that use them, and a place in the initrd.
{
  lib,
  users, # config.users.users
  kind, # name of the option set: "secrets" or "templates"
  noun, # what one of them is called in descriptions
  seal, # whether they are sealed in the initrd unless they say otherwise
  directory, # where they are installed, below the directories of secrets: "" or "/rendered"
}:

let
  inherit (lib)
    literalExpression
    literalMD
    mkOption
    types
    ;

  placement = import ./placement.nix {
    inherit lib noun;
    directory = "/run/secrets${directory}";
    path =
      "{file}`/run/secrets${directory}/‹name›`, or with {option}`neededForUsers` "
      + "{file}`/run/secrets-for-users${directory}/‹name›`";
    triggers = {
      restart = "systemd.services.<name>.restartTriggers";
      reload = "systemd.services.<name>.reloadTriggers";
    };
  };

  groupOf =
    name: owner:
    let
      byName = lib.findFirst (user: user.name == owner) null (builtins.attrValues users);
    in
    if users ? ${owner} then
      users.${owner}.group
    else if byName != null then
      byName.group
    else
      throw (
        "sops.${kind}.${lib.strings.escapeNixIdentifier name}.owner: there is no user ${owner} in users.users; "
        + "correct it, or set `group` as well"
      );

  # Declared once, not anew for each of hundreds of secrets. The defaults that depend on it follow
  # below.
  declared = placement // {
    owner = mkOption {
      type = types.nullOr types.singleLineStr;
      default = null;
      example = literalExpression "config.users.users.nginx.name";
      description = ''
        The user to whom the file belongs. It can be set only while {option}`uid` is 0.
      '';
    };

    uid = mkOption {
      type = types.nullOr types.ints.unsigned;
      default = 0;
      description = ''
        The number of the user to whom the file belongs, whether there is such a user or not. It
        counts where {option}`owner` is `null`.
      '';
    };

    group = mkOption {
      type = types.nullOr types.singleLineStr;
      defaultText = literalMD "the group of {option}`owner` in {option}`users.users`";
      description = ''
        The group to which the file belongs. It can be set only while {option}`gid` is 0.
      '';
    };

    gid = mkOption {
      type = types.nullOr types.ints.unsigned;
      default = 0;
      description = ''
        The number of the group to which the file belongs, whether there is such a group or not. It
        counts where {option}`group` is `null`.
      '';
    };

    neededForUsers = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether the ${noun} is installed before users and groups are made, for their passwords for
        example. It is then in {file}`/run/secrets-for-users${directory}` and belongs to root.
      '';
    };

    neededForInitrd = mkOption {
      type = types.bool;
      defaultText = literalExpression "initrd.only";
      description = ''
        Whether the ${noun} is put into the initrd when the boot loader is installed. It is
        installed at activation as well, unless {option}`initrd.only` is set, and has the same path
        in both worlds unless {option}`initrd.path` is set.

        What is in the initrd can be read by whoever holds the disk, if {file}`/boot` is not
        encrypted.
      '';
    };

    initrd = {
      path = mkOption {
        type = types.singleLineStr;
        defaultText = literalExpression "path";
        example = "/etc/ssh/ssh_host_ed25519_key";
        description = ''
          Where the ${noun} is in stage 1: an absolute path without white space and without any of
          the characters `*?[]\`.
        '';
      };

      mode = mkOption {
        inherit (placement.mode) type;
        defaultText = literalExpression "mode";
        description = "The permissions of the file in stage 1, in octal.";
      };

      uid = mkOption {
        type = types.ints.u32;
        default = 0;
        example = literalExpression "config.boot.initrd.systemd.users.systemd-network.uid";
        description = "The number of the user to whom the file belongs in stage 1.";
      };

      gid = mkOption {
        type = types.ints.u32;
        default = 0;
        example = literalExpression "config.boot.initrd.systemd.groups.systemd-network.gid";
        description = "The number of the group to which the file belongs in stage 1.";
      };

      only = mkOption {
        type = types.bool;
        default = false;
        description = ''
          Whether the ${noun} is in the initrd only and is not installed at activation.
        '';
      };

      seal = mkOption {
        type = types.bool;
        defaultText = literalMD "{option}`sops.initrd.seal.enable`, except with {option}`initrd.early`";
        description = ''
          Whether the ${noun} is sealed to the TPM on the boot partition, see
          {option}`sops.initrd.seal.enable`.
        '';
      };

      credential = mkOption {
        type = types.nullOr (types.strMatching "[A-Za-z0-9_][A-Za-z0-9_.-]*");
        default = null;
        example = "network.wireguard.private.wg0";
        description = ''
          The name of a systemd credential that the ${noun} is in stage 1, instead of a file: for
          units with {option}`ImportCredential` or {option}`LoadCredentialEncrypted`, and for what
          systemd itself reads, such as `cryptsetup.passphrase`. It is encrypted with the TPM where
          {option}`initrd.seal` is set, and otherwise in a form that anybody can read, which systemd
          refuses where there are both a TPM and Secure Boot.
        '';
      };

      early = mkOption {
        type = types.bool;
        default = false;
        description = ''
          Whether the ${noun} lies at its place in the image itself. Without it, stage 1 copies the
          file to its place before disks are opened, which is right for nearly everything, and too
          late for what systemd's generators read, such as {file}`/etc/crypttab` and
          {file}`/etc/veritytab`. A path that another file system is mounted over, such as
          {file}`/run`, does not work with it.
        '';
      };
    };
  };
  withDefault = option: default: option // { inherit default; };
in
{ config, name, ... }:
{
  options = declared // {
    name = withDefault declared.name name;
    path = withDefault declared.path (
      (if config.neededForUsers then "/run/secrets-for-users" else "/run/secrets") + "${directory}/${config.name}"
    );
    group = withDefault declared.group (if config.owner == null then null else groupOf name config.owner);
    neededForInitrd = withDefault declared.neededForInitrd config.initrd.only;
    initrd = declared.initrd // {
      path = withDefault declared.initrd.path (
        if config.initrd.credential != null then
          "/.extra/credentials/${config.initrd.credential}.cred"
        else
          config.path
      );
      mode = withDefault declared.initrd.mode config.mode;
      seal = withDefault declared.initrd.seal (seal && !config.initrd.early);
    };
  };
}
