# What a type cannot say about secrets: each message names the option, what is wrong, and what to
# set.
{ checks, paths, ... }:
{
  config,
  lib,
  options,
  ...
}:

let
  inherit (lib) concatLists mapAttrsToList optional;

  cfg = config.sops;
  inherit (checks) option;
  forEach = checks.forEach cfg;

  keyPaths = checks.keyPaths cfg;

  isNumber = id: id != null && id != 0;
  ownerConflicts = forEach (
    kind: name: item:
    optional (item.owner != null && isNumber item.uid)
      "${option kind name}: owner (${item.owner}) and uid (${toString item.uid}) are both set; set only one of them"
    ++ optional (item.group != null && isNumber item.gid) (
      "${option kind name}: group (${item.group}) and gid (${toString item.gid}) are both set; "
      + "set only one of them (group follows from owner)"
    )
  );

  # Placeholders of secrets that a template cannot have, because they are not installed together
  # with it.
  missing =
    set: where: hint:
    concatLists (
      mapAttrsToList (
        name: _:
        let
          used = cfg.manifest.usedBy.${name};
        in
        map (
          secret:
          "${option "templates" name} uses sops.placeholder.${lib.strings.escapeNixIdentifier secret}, "
          + "but ${option "secrets" secret} is not installed ${where}; ${hint}"
        ) (builtins.filter (secret: !set.secrets ? ${secret}) (if used == null then [ ] else used))
      ) set.templates
    );

  # Only root exists before users are created.
  needsUsers = forEach (
    kind: name: item:
    optional
      (item.neededForUsers && (item.uid != 0 && item.owner != "root" || item.gid != 0 && item.group != "root"))
      (
        "${option kind name}: neededForUsers is set, so it is installed before there are any users, "
        + "and can only belong to root; remove uid and gid"
      )
  );

  variables = {
    "sops.environment" = cfg.environment;
    "sops.initrd.environment" = lib.filterAttrs (
      name: value: cfg.environment.${name} or null != value
    ) cfg.initrd.environment;
  };
  pathWarnings = concatLists (
    mapAttrsToList (
      set: values:
      optional (values ? PATH)
        "${set}.PATH has no effect: put the packages of the programs that keys need into sops.age.plugins."
    ) variables
  );

  # The file system below which a path is, if NixOS mounts it only after stage 1: null otherwise.
  # NixOS mounts some in stage 1 whatever neededForBoot says (nixpkgs, nixos/lib/utils.nix).
  fileSystems = lib.mapAttrs' (name: fs: lib.nameValuePair (fs.mountPoint or name) fs) (config.fileSystems or { });
  lateFileSystem =
    path:
    let
      mount = lib.findFirst (d: fileSystems ? ${d}) null ([ path ] ++ paths.above path);
      early = [
        "/"
        "/nix"
        "/nix/store"
        "/var"
        "/var/log"
        "/var/lib"
        "/var/lib/nixos"
        "/etc"
        "/usr"
      ];
      fs = fileSystems.${mount};
    in
    if mount == null || builtins.elem mount early then
      null
    else if fs.neededForBoot or false || builtins.elem "x-initrd.mount" (fs.options or [ ]) then
      null
    else
      mount;

  # What is read to install these secrets, on file systems that come too late.
  late =
    secrets:
    concatLists (
      map
        (
          { name, path }:
          let
            mount = lateFileSystem (paths.clean (paths.plain path));
          in
          optional (mount != null) { inherit name path mount; }
        )
        (
          keyPaths
          ++ optional (cfg.gnupg.home != null) {
            name = "sops.gnupg.home";
            path = cfg.gnupg.home;
          }
          ++ mapAttrsToList (name: secret: {
            name = "${option "secrets" name}.sopsFile";
            path = secret.sopsFile;
          }) (lib.filterAttrs (_: secret: !paths.endsInStore secret.sopsFile) secrets)
        )
    );
  tooLate =
    { name, path, mount }:
    "${name}: ${paths.plain path} is on ${mount}, which is mounted too late to decrypt ";
  toSet = { mount, ... }: "set fileSystems.${builtins.toJSON mount}.neededForBoot to true";

  # Files that impermanence or preservation brings back with a mount or a link of their own.
  persistent =
    let
      stores = config.environment.persistence or { } // config.preservation.preserveAt or { };
      fileOf = file: if builtins.isAttrs file then file.filePath or file.file or null else file;
    in
    lib.listToAttrs (
      concatLists (
        mapAttrsToList (
          name: store:
          map (file: lib.nameValuePair (toString (fileOf file)) (store.persistentStoragePath or name)) (
            store.files or [ ]
          )
        ) stores
      )
    );
  persistentKeys = concatLists (
    map (
      { name, path }:
      optional (persistent ? ${paths.plain path}) (
        "${name}: ${path} is a link or mount of a persistent file, and may not be there "
        + "yet when secrets are decrypted. "
        + "Name the file itself: ${persistent.${paths.plain path}}${path}."
      )
    ) keyPaths
  );

  # Units that are to restart for secrets installed by scripts; NixOS gives that up with the
  # scripts.
  restarting = forEach (
    kind: name: item:
    optional (!item.neededForUsers && (item.restartUnits != [ ] || item.reloadUnits != [ ])) (option kind name)
  );
  scriptsChosen =
    cfg.activation.regular
    && !cfg.activation.regularByUnit
    && options.sops.useSystemdActivation.highestPrio < (lib.mkOptionDefault null).priority;

  failing = message: {
    assertion = false;
    inherit message;
  };
  usersAreScripted = cfg.activation.users && !cfg.activation.usersByUnit;
in
{
  config = lib.mkIf (cfg.secrets != { } || cfg.templates != { }) {
    assertions = [
      {
        assertion = cfg.secrets != { } -> keyPaths != [ ] || cfg.gnupg.home != null;
        message =
          "sops has no key to decrypt secrets with: enable services.openssh, or set sops.age.keyFile, "
          + "sops.age.sshKeyPaths, sops.gnupg.sshKeyPaths or sops.gnupg.home";
      }
      {
        assertion = cfg.gnupg.home == null || cfg.gnupg.sshKeyPaths == [ ];
        message =
          "sops.gnupg.home and sops.gnupg.sshKeyPaths are both set; set sops.gnupg.sshKeyPaths to [ ], "
          + "or sops.gnupg.home to null";
      }
      (checks.keyFileSet cfg)
      {
        assertion =
          cfg.manifest.users.secrets != { } && config.systemd.sysusers.enable or false -> config.users.mutableUsers;
        message =
          "sops.secrets.<name>.neededForUsers does not work with systemd.sysusers.enable and "
          + "users.mutableUsers = false, since systemd-sysusers sets no password then: "
          + "set users.mutableUsers to true, or use services.userborn";
      }
    ]
    ++ map failing (concatLists [
      (checks.installedKeys cfg)
      # sops-nix looks at secrets only while sops files are validated.
      (builtins.filter (m: cfg.validateSopsFiles || lib.hasPrefix "sops.templates." m) ownerConflicts)
      (concatLists (builtins.attrValues cfg.manifest.fileFaults))
      (missing cfg.manifest.regular "at activation with it"
        "set neededForUsers of both or of none, and initrd.only of none"
      )
      (missing cfg.manifest.users "before users are made" "set neededForUsers for it, too")
      needsUsers
      (checks.variableFaults variables)
      (map (l: tooLate l + "secrets that are needed for users: ${toSet l}, or keep it elsewhere") (
        lib.optionals cfg.activation.usersByUnit (late cfg.manifest.users.secrets)
      ))
    ]);

    warnings =
      lib.optionals (!cfg.validateSopsFiles) (builtins.filter (lib.hasPrefix "sops.secrets.") ownerConflicts)
      ++ forEach (
        kind: name: item:
        optional
          (
            item.neededForUsers
            && !builtins.elem item.owner [
              null
              "root"
            ]
          )
          (
            "${option kind name}: owner ${item.owner} has no effect, since neededForUsers installs it "
            + "before there are any users"
          )
      )
      ++ checks.keysInStore cfg
      ++ pathWarnings
      ++ map (l: tooLate l + "secrets by an activation script at boot: ${toSet l}.") (
        lib.optionals (cfg.activation.regular && !cfg.activation.regularByUnit || usersAreScripted) (
          late (
            lib.optionalAttrs (!cfg.activation.regularByUnit) cfg.manifest.regular.secrets
            // lib.optionalAttrs usersAreScripted cfg.manifest.users.secrets
          )
        )
      )
      ++ persistentKeys
      ++ optional (scriptsChosen && restarting != [ ]) (
        "sops.useSystemdActivation is false, and restartUnits or reloadUnits of ${lib.head restarting}"
        + lib.optionalString (lib.length restarting > 1) " (and ${toString (lib.length restarting - 1)} more)"
        + " count on activation scripts restarting units. NixOS deprecates that from 26.11 on and will drop it: "
        + "set sops.useSystemdActivation to true."
      );
  };
}
