# Secrets in the initrd: what goes where, and the hook that puts it there while the boot loader is
# being installed.
#
# NixOS calls the hook append-initrd-secrets. Taking its place means taking over all of
# boot.initrd.secrets, other modules' files included. boot.initrd.secrets must stay non-empty:
# without a single attribute the boot loader is not told of the hook, and stage 1 copies nothing.
{ environment, paths, ... }:
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
  programs = import ../default.nix { inherit pkgs; };
  buildPrograms = import ../default.nix { pkgs = pkgs.pkgsBuildHost; };

  # numtide/system-manager has no initrd, and no option to ask whether there is one.
  hasInitrd = options.boot ? initrd && initrd.enable;

  # Secrets and templates, each with where it is on the running system and what it is called in
  # manifests.
  itemsOf =
    let
      of =
        kind: field: directory: set:
        lib.mapAttrsToList (name: item: {
          inherit item;
          option = "sops.${kind}.${lib.strings.escapeNixIdentifier name}";
          origin.${field} = item.name;
          # The file itself. With a path of its own, that is a link to it.
          file = "/run/secrets${lib.optionalString item.neededForUsers "-for-users"}${directory}/${plain item.name}";
        }) set;
    in
    secrets: templates: of "secrets" "secret" "" secrets ++ of "templates" "template" "/rendered" templates;
  items = itemsOf cfg.secrets cfg.templates;
  marked =
    let
      needed = lib.filterAttrs (_: item: item.neededForInitrd);
    in
    itemsOf (needed cfg.secrets) (needed cfg.templates);
  plain = builtins.unsafeDiscardStringContext;

  # Whether the user switched the whole thing off. It must not look at the default of the option,
  # which looks at boot.initrd.secrets, because definitions of boot.initrd.secrets depend on it.
  switchedOff =
    options.sops.initrd.enable.highestPrio < (lib.mkOptionDefault null).priority && !cfg.initrd.enable;

  # By its path on the running system, what is served from a sops file. A path that two share
  # belongs to the first.
  served = lib.listToAttrs (
    map (i: lib.nameValuePair (paths.clean (plain i.item.path)) i) items
    ++ map (i: lib.nameValuePair (paths.clean i.file) i) items
  );
  # By directory, the paths of what is served below it.
  directories = lib.zipAttrs (
    map (path: lib.genAttrs (paths.above path) (_: path)) (builtins.attrNames served)
  );
  # Nothing but secrets is there.
  isOurs =
    path:
    builtins.any (d: path == d || paths.isBelow d path) [
      "/run/secrets"
      "/run/secrets-for-users"
    ];

  # What an attribute of boot.initrd.secrets puts into the initrd: one file, or all secrets of a
  # directory.
  entriesOf =
    destination: value:
    let
      path = paths.clean destination;
      source = if value == null then path else paths.hostPath value;
      onHost = paths.clean (plain source);
    in
    if served ? ${onHost} then
      [ (entry path served.${onHost}) ]
    else if isOurs onHost && directories ? ${onHost} then
      map (file: entry (path + lib.removePrefix onHost file) served.${file}) directories.${onHost}
    else
      [ { inherit path source; } ];
  entry =
    path:
    { item, origin, ... }:
    {
      inherit path;
      inherit (item.initrd) mode uid gid;
    }
    // origin
    // lib.optionalAttrs item.initrd.early { prefix = "/"; }
    // lib.optionalAttrs (item.initrd.credential != null) { inherit (item.initrd) credential; }
    // lib.optionalAttrs item.initrd.seal {
      seal = if cfg.initrd.seal.whenNoTPM == "plain" then "tpm2-or-plain" else "tpm2";
    };

  # Options that name a file which stage 1 reads, and which NixOS does not put into
  # boot.initrd.secrets by itself. Where it is a secret, it is taken into the initrd as the host
  # keys of sshd are.
  references =
    let
      at = option: path: { inherit option path; };
      of = prefix: attributes: set: map (a: at "${prefix}.${a}" (set.${a} or null)) attributes;
      name = lib.strings.escapeNixIdentifier;
      each = set: f: lib.concatLists (lib.mapAttrsToList (n: f (name n)) set);
      netdev =
        n: device:
        let
          prefix = "boot.initrd.systemd.network.netdevs.${n}";
        in
        of "${prefix}.wireguardConfig" [ "PrivateKeyFile" ] (device.wireguardConfig or { })
        ++ lib.concatMap (
          peer: of "${prefix}.wireguardPeers.*" [ "PresharedKeyFile" ] (peer.wireguardPeerConfig or peer)
        ) (device.wireguardPeers or [ ]);
      # disko: file:///path
      zfs = option: options: at "${option}.keylocation" (lib.removePrefix "file://" (options.keylocation or ""));
      disko = each (config.disko.devices.zpool or { }) (
        n: pool:
        [ (zfs "disko.devices.zpool.${n}.rootFsOptions" (pool.rootFsOptions or { })) ]
        ++ each (pool.datasets or { }) (
          d: dataset: [ (zfs "disko.devices.zpool.${n}.datasets.${d}.options" (dataset.options or { })) ]
        )
      );
    in
    each (initrd.luks.devices or { }) (n: of "boot.initrd.luks.devices.${n}" [ "keyFile" ])
    ++ each (initrd.systemd.network.netdevs or { }) netdev
    ++ disko;
  taken = builtins.filter (
    r: r.path != null && served ? ${paths.clean (paths.plain r.path)}
  ) references;

  # The builder of systemd-boot that appends to the image in place, and shares one image between
  # generations with equal initrds. The one that replaced it came in 26.11, with boot counting.
  sharingBuilder =
    config.boot.loader.systemd-boot.enable
    && (
      lib.versionOlder config.system.nixos.release "26.11"
      || !(options.boot.loader.systemd-boot ? bootCounting)
    );

  # limine has the hook make a file in a temporary directory and copies it here (nixpkgs,
  # limine-install.py). Older versions load it directly behind the initrd, where the kernel does not
  # find a plain archive.
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

      ${environment.shellCommand cfg.initrd.environment cfg.age.plugins (
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
            ++ lib.optional (cfg.lockoutGuard != "warn") "--lockout-guard ${cfg.lockoutGuard}"
            ++ lib.optional (limine.enable or false) "--enclose --installed ${lib.escapeShellArg limineDirectory}"
            ++ [ ''-- "$1"'' ]
          )
        )}
    '';
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
        Whether the initrd secrets of this configuration are installed by {command}`sops-initrd`. It
        then installs all of {option}`boot.initrd.secrets`, the files of other modules included, in
        place of NixOS's own hook.

        With `false` nothing is touched: secrets with {option}`neededForInitrd` are not put into the
        initrd. That is for variants of a configuration whose boot loader cannot do it, such as
        {option}`virtualisation.vmVariant`.
      '';
    };

    entries = mkOption {
      type = types.listOf (types.attrsOf types.anything);
      readOnly = true;
      default = lib.concatLists (lib.mapAttrsToList entriesOf initrd.secrets);
      defaultText = literalMD "{option}`boot.initrd.secrets`, as a list";
      description = ''
        What is put into the initrd: `path` in stage 1, and one of `secret` (its name), `template`
        (its name) and `source` (a path on the host).
      '';
    };

    environment = mkOption {
      type = types.attrsOf (types.either types.str types.path);
      default = { };
      apply = lib.mapAttrs (_: paths.hostPath);
      defaultText = literalExpression "config.sops.environment";
      description = ''
        Environment variables of {command}`sops-initrd` while the boot loader is being installed,
        written as in {option}`sops.environment`. The variables of {option}`sops.environment` are
        there unless they are set to something else here.
      '';
    };

    allowInPlace = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether, on a boot partition with no room for a second copy of the initrd, an image that has
        secrets already may be changed in place. A power failure at that moment can leave the image
        without its secrets, until the boot loader is installed again.
      '';
    };

    allowLooseKeys = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether SSH private keys may have permissions with which sshd does not load them: any for
        group or others. Without it, installing them fails, and says which.
      '';
    };

    stateDirectory = mkOption {
      type = types.path;
      default = "/var/lib/sops-initrd";
      example = "/persist/var/lib/sops-initrd";
      description = ''
        Where {command}`sops-initrd` records what it installed. A generation whose secrets can no
        longer be decrypted keeps those that its image has only when this record knows them.
      '';
    };

    separateImages = mkOption {
      type = types.bool;
      default = sharingBuilder;
      defaultText = literalMD "whether the systemd-boot builder of NixOS 26.05 or older is used";
      description = ''
        Whether the initrd contains a digest of the encrypted secrets, so that generations with
        different secrets have different images. The older systemd-boot builder lets generations
        with equal initrds share an image, and so the secrets of whichever came last. Every change
        of a sops file with initrd secrets then costs one more initrd on the boot partition: keep
        them in a sops file of their own.

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
        Attributes of {option}`boot.initrd.secrets` whose source may be in the Nix store, which
        everybody can read.
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
      description = ''
        The package with the {command}`sops-initrd` that checks manifests when they are built.
      '';
    };

    active = mkOption {
      type = types.bool;
      internal = true;
      readOnly = true;
      default = hasInitrd && cfg.initrd.enable && initrd.secrets != { };
      description = "Whether the hook is replaced.";
    };

    wanted = mkOption {
      type = types.attrsOf types.unspecified;
      internal = true;
      readOnly = true;
      default = {
        # What is there to be served, by its kind and name; and what is marked, or named by an
        # option of stage 1.
        secrets = lib.listToAttrs (
          map (i: lib.nameValuePair i.item.name i) (builtins.filter (i: i.origin ? secret) items)
        );
        templates = lib.listToAttrs (
          map (i: lib.nameValuePair i.item.name i) (builtins.filter (i: i.origin ? template) items)
        );
        items = lib.optionals (hasInitrd && !switchedOff) marked;
        references = lib.optionals (hasInitrd && !switchedOff) taken;
      };
      description = "What has to be in the initrd.";
    };
  };

  config = {
    sops.initrd.environment = lib.mapAttrs (_: mkDefault) cfg.environment;

    # Weaker than a default: where a user or another module says the same with words of their own,
    # theirs count.
    boot.initrd.secrets = mkIf (!switchedOff) (
      lib.mapAttrs (_: lib.mkOverride 1250) (
        lib.listToAttrs (
          map (r: lib.nameValuePair (paths.plain r.path) r.path) taken
          ++ map (i: lib.nameValuePair (plain i.item.initrd.path) i.item.path) marked
        )
      )
    );

    system.build.initialRamdiskSecretAppender = mkIf cfg.initrd.active (mkForce appender);

    # For people: sops-initrd status, inspect, diagnose.
    environment.systemPackages = mkIf cfg.initrd.active [ cfg.initrd.package ];
  };
}
