# Secrets in the initrd: what goes where, and the hook that puts it there while the boot loader is being installed.
#
# NixOS calls the hook append-initrd-secrets. Taking its place means taking over all of boot.initrd.secrets, other modules' files
# included. boot.initrd.secrets must stay non-empty: without a single attribute the boot loader is not told of the hook, and
# stage 1 copies nothing.
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
    mkDefault
    mkForce
    mkIf
    mkOption
    types
    ;

  cfg = config.sops;
  initrd = config.boot.initrd;
  paths = import ./paths.nix { inherit lib; };
  withEnvironment = import ./command.nix { inherit lib; };
  programs = import ../default.nix { inherit pkgs; };
  buildPrograms = import ../default.nix { pkgs = pkgs.pkgsBuildHost; };

  values = builtins.attrValues;
  marked = builtins.filter (item: item.neededForInitrd) (values cfg.secrets ++ values cfg.templates);

  # Whether the user switched the whole thing off. It must not look at the default of the option, which looks at
  # boot.initrd.secrets, because definitions of boot.initrd.secrets depend on it.
  switchedOff =
    options.sops.initrd.enable.highestPrio < (lib.mkOptionDefault null).priority && !cfg.initrd.enable;

  # By its path on the running system, what is served from a sops file. A path that two share belongs to the first.
  served = lib.listToAttrs (
    map (s: lib.nameValuePair (paths.plain s.path) (s // { origin.secret = s.name; })) (values cfg.secrets)
    ++ map (t: lib.nameValuePair (paths.plain t.path) (t // { origin.template = t.name; })) (values cfg.templates)
  );
  servedBy = source: served.${builtins.unsafeDiscardStringContext source} or null;

  entry =
    destination: value:
    let
      path = paths.clean destination;
      source = if value == null then path else paths.hostPath value;
      item = servedBy source;
    in
    { inherit path; }
    // (
      if item == null then
        { inherit source; }
      else
        item.origin
        // {
          inherit (item.initrd) mode uid gid;
        }
        // lib.optionalAttrs item.initrd.early { prefix = "/"; }
    );

  # The builder of systemd-boot that appends to the image in place, and shares one image between generations with equal initrds.
  # The one that replaced it came in 26.11, with boot counting.
  sharingBuilder =
    config.boot.loader.systemd-boot.enable
    && (
      lib.versionOlder config.system.nixos.release "26.11"
      || !(options.boot.loader.systemd-boot ? bootCounting)
    );

  # limine has the hook make a file in a temporary directory and copies it here (nixpkgs, limine-install.py). Older versions load it
  # directly behind the initrd, where the kernel does not find a plain archive.
  limine = config.boot.loader.limine or { };
  limineDirectory =
    (if limine.efiSupport or true then config.boot.loader.efi.efiSysMountPoint else "/boot")
    + "/limine/kernels";

  appender = pkgs.writeTextFile {
    name = "append-initrd-secrets";
    executable = true;
    destination = "/bin/append-initrd-secrets";
    # It is a file of its own in every configuration: builders name images after its store path.
    text = ''
      #!${pkgs.runtimeShell}
      set -eu

      usage() {
        echo "usage: append-initrd-secrets IMAGE"
        echo "Installs the secrets of this configuration in the initrd IMAGE."
      }
      if [ $# -ne 1 ]; then
        usage >&2
        exit 1
      fi
      if [ "$1" = --help ]; then
        usage
        exit 0
      fi

      ${withEnvironment
        (
          cfg.initrd.environment
          // {
            HOME = "/var/empty";
            PATH = lib.makeBinPath cfg.age.plugins;
          }
        )
        (
          lib.concatStringsSep " " (
            [
              "exec ${cfg.initrd.package}/bin/sops-initrd append"
              "--manifest ${config.system.build.sops-initrd-manifest}"
              "--base ${config.system.build.initialRamdisk}/${config.system.boot.loader.initrdFile}"
              "--state ${lib.escapeShellArg cfg.initrd.stateDirectory}"
            ]
            ++ lib.optional cfg.initrd.allowInPlace "--allow-in-place"
            ++ lib.optional cfg.initrd.allowLooseKeys "--allow-loose-keys"
            ++ lib.optional (cfg.initrd.whenNoKey != "fail") "--when-no-key ${cfg.initrd.whenNoKey}"
            ++ lib.optional (limine.enable or false) "--enclose --installed ${lib.escapeShellArg limineDirectory}"
            ++ [ ''-- "$1"'' ]
          )
        )
      }'';
    checkPhase = ''
      ${pkgs.stdenv.shellDryRun} "$target"
      # What sops-initrd status and install-loader compare images with.
      ln -s ${config.system.build.sops-initrd-manifest} "$out/manifest.json"
    '';
  };
in
{
  options.sops.initrd = {
    enable = mkOption {
      type = types.bool;
      default = cfg.initrd.entries != [ ] && builtins.any (e: !e ? source) cfg.initrd.entries;
      defaultText = literalMD "whether a secret or template is needed in the initrd";
      description = ''
        Whether the initrd secrets of this configuration are installed by {command}`sops-initrd`. It then installs all of
        {option}`boot.initrd.secrets`, the files of other modules included, in place of NixOS's own hook.

        With `false` nothing is touched: secrets with {option}`neededForInitrd` are not put into the initrd. That is for
        variants of a configuration whose boot loader cannot do it, such as {option}`virtualisation.vmVariant`.
      '';
    };

    entries = mkOption {
      type = types.listOf (types.attrsOf types.anything);
      readOnly = true;
      default = lib.mapAttrsToList entry initrd.secrets;
      defaultText = literalMD "{option}`boot.initrd.secrets`, as a list";
      description = ''
        What is put into the initrd: `path` in stage 1, and one of `secret` (its name), `template` (its name) and `source`
        (a path on the host).
      '';
    };

    environment = mkOption {
      type = types.attrsOf (types.either types.str types.path);
      default = { };
      defaultText = literalExpression "config.sops.environment";
      description = ''
        Environment variables of {command}`sops-initrd` while the boot loader is being installed, written as in
        {option}`sops.environment`. The variables of {option}`sops.environment` are there unless they are set to something else
        here.
      '';
    };

    allowInPlace = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether, on a boot partition with no room for a second copy of the initrd, an image that has secrets already may be
        changed in place. A power failure at that moment can leave the image without its secrets, until the boot loader
        is installed again.
      '';
    };

    allowLooseKeys = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether SSH private keys may have permissions with which sshd does not load them: any for group or others. Without it,
        installing them fails, and says which.
      '';
    };

    stateDirectory = mkOption {
      type = types.path;
      default = "/var/lib/sops-initrd";
      example = "/persist/var/lib/sops-initrd";
      description = ''
        Where {command}`sops-initrd` records what it installed. A generation whose secrets can no longer be decrypted keeps those
        that its image has only when this record knows them.
      '';
    };

    separateImages = mkOption {
      type = types.bool;
      default = sharingBuilder;
      defaultText = literalMD "whether the systemd-boot builder of NixOS 26.05 or older is used";
      description = ''
        Whether the initrd contains a digest of the encrypted secrets, so that generations with different secrets have different
        images. The older systemd-boot builder lets generations with equal initrds share an image, and so the secrets of
        whichever came last. Every change of a sops file with initrd secrets then costs one more initrd on the
        boot partition: keep them in a sops file of their own.

        It covers sops files in the Nix store.
      '';
    };

    allowedStoreSources = mkOption {
      type = types.listOf types.str;
      default = map (device: "/etc/clevis/${device}.jwe") (
        lib.optionals (initrd.clevis.enable or false) (builtins.attrNames initrd.clevis.devices)
      );
      defaultText = literalMD "the files of {option}`boot.initrd.clevis.devices`, which are encrypted";
      example = [ "/etc/ssl/ca.pem" ];
      description = ''
        Attributes of {option}`boot.initrd.secrets` whose source may be in the Nix store, which everybody can read.
      '';
    };

    package = mkOption {
      type = types.package;
      default = programs.sops-initrd;
      defaultText = literalExpression "(import ./default.nix { inherit pkgs; }).sops-initrd";
      description = "The package with {command}`sops-initrd`.";
    };

    validationPackage = mkOption {
      type = types.package;
      default =
        if pkgs.stdenv.buildPlatform == pkgs.stdenv.hostPlatform then
          cfg.initrd.package
        else
          buildPrograms.sops-initrd;
      defaultText = literalExpression "config.sops.initrd.package, built for the building platform";
      description = "The package with the {command}`sops-initrd` that checks manifests when they are built.";
    };

    active = mkOption {
      type = types.bool;
      internal = true;
      readOnly = true;
      default = cfg.initrd.enable && initrd.enable && initrd.secrets != { };
      description = "Whether the hook is replaced.";
    };
  };

  config = {
    sops.initrd.environment = lib.mapAttrs (_: mkDefault) cfg.environment;

    # By default only: where a user or another module says the same with words of their own, theirs count.
    boot.initrd.secrets = mkIf (!switchedOff) (
      lib.listToAttrs (map (item: lib.nameValuePair item.initrd.path (mkDefault item.path)) marked)
    );

    system.build.initialRamdiskSecretAppender = mkIf cfg.initrd.active (mkForce appender);

    # For people: sops-initrd status, inspect, diagnose.
    environment.systemPackages = mkIf cfg.initrd.active [ cfg.initrd.package ];
  };
}
