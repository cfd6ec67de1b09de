# What can go wrong with secrets in the initrd and is known while evaluating.
{ paths, ... }:
{ config, lib, ... }:

let
  inherit (lib) concatLists optional;

  cfg = config.sops;
  loader = config.boot.loader;
  entries = cfg.initrd.entries;
  wanted = cfg.initrd.wanted;

  secretOption = path: "boot.initrd.secrets.${builtins.toJSON path}";

  # The secret or template that an entry is served from: null for a file of the host.
  itemOf =
    e:
    if e ? secret then
      wanted.secrets.${e.secret}
    else if e ? template then
      wanted.templates.${e.template}
    else
      null;
  initrdPath = i: paths.clean i.item.initrd.path;

  # The copy loops of stage 1 expand names without quotes.
  unclean =
    path:
    if path == "/" then
      "is the root directory"
    else if builtins.elem ".." (lib.splitString "/" path) then
      "contains \"..\""
    else if builtins.match ".*[] \t\n*?[\\].*" path != null then
      "contains white space or one of *?[]\\, which stage 1 cannot copy"
    else
      null;

  # Stage 1 mounts something over these.
  covered =
    path:
    builtins.any (d: paths.isBelow d path) [
      "/run"
      "/dev"
      "/proc"
      "/sys"
    ];

  pathFaults = concatLists (
    map (
      e:
      let
        i = itemOf e;
        name =
          if i != null && i.item.neededForInitrd && initrdPath i == e.path then
            "${i.option}.initrd.path"
          else
            secretOption e.path;
        reason = unclean e.path;
      in
      optional (reason != null) "${name}: ${builtins.toJSON e.path} ${reason}; use another path"
      ++ optional (e ? prefix && covered e.path) (
        "${name}: ${e.path} cannot be in the image itself, because stage 1 mounts a file system over it; "
        + "unset initrd.early of ${i.option}, or use another path"
      )
    ) entries
  );

  groupedBy = f: list: builtins.attrValues (lib.filterAttrs (_: l: builtins.length l > 1) (lib.groupBy f list));
  duplicateFaults =
    map (
      same:
      "${lib.concatMapStringsSep " and " (i: "${i.option}.initrd.path") same} are the same, "
      + "${(builtins.head same).item.initrd.path}; give each its own"
    ) (groupedBy initrdPath wanted.items)
    ++ map (
      same:
      "boot.initrd.secrets names ${(builtins.head same).path} ${toString (builtins.length same)} times, "
      + "in different spellings; keep one"
    ) (groupedBy (e: e.path) entries);

  # boot.initrd.secrets may say something else for the place of a secret, or have been overridden as
  # a whole.
  entriesAt = lib.groupBy (e: e.path) entries;
  displacedFaults = concatLists (
    map (
      i:
      let
        at = entriesAt.${initrdPath i} or [ ];
        isOurs = e: builtins.intersectAttrs i.origin e == i.origin;
      in
      optional (!builtins.any isOurs at) (
        "${i.option} is needed in the initrd at ${i.item.initrd.path}, but "
        + (
          if at != [ ] then
            "${secretOption i.item.initrd.path} puts something else there; remove that, or set ${i.option}.initrd.path"
          else
            "boot.initrd.secrets lacks it (lib.mkForce?); add it there, or, where no secret shall be in the initrd, "
            + "set sops.initrd.enable to false"
        )
      )
    ) wanted.items
    ++ map (
      r:
      optional (!entriesAt ? ${paths.clean (paths.plain r.path)}) (
        "${r.option} is ${r.path}, which is a secret, but boot.initrd.secrets lacks it "
        + "(lib.mkForce?); add it there, or, "
        + "where no secret shall be in the initrd, set sops.initrd.enable to false"
      )
    ) wanted.references
  );

  # systemd-networkd reads keys as an ordinary user.
  networkd = config.ids.uids.systemd-network or 152;
  unreadable = concatLists (
    map (
      r:
      concatLists (
        map (
          e:
          let
            digits = lib.reverseList (map lib.toIntBase10 (lib.stringToCharacters e.mode));
            bit = n: builtins.length digits > n && builtins.bitAnd 4 (builtins.elemAt digits n) != 0;
          in
          optional
            (
              (itemOf e) != null && !(e.uid == networkd && bit 2 || e.gid == networkd && bit 1 || bit 0)
            )
            (
              "${r.option}: systemd-networkd cannot read ${e.path} in stage 1, where it belongs to root: set "
              + "${(itemOf e).option}.initrd.mode to \"0440\" and initrd.gid to "
              + "config.boot.initrd.systemd.groups.systemd-network.gid."
            )
        ) (entriesAt.${paths.clean (paths.plain r.path)} or [ ])
      )
    ) (builtins.filter (r: lib.hasPrefix "boot.initrd.systemd.network." r.option) wanted.references)
  );

  # The options of stage 1 that a secret is taken along for, by its path in the initrd.
  referencesTo = lib.groupBy (r: paths.clean (paths.plain r.path)) wanted.references;
  notices = concatLists (
    map (
      e:
      let
        i = itemOf e;
        from = map (r: r.option) (referencesTo.${e.path} or [ ]);
      in
      optional (i != null && !i.item.neededForInitrd) (
        (if from == [ ] then secretOption e.path else lib.concatStringsSep ", " from)
        + " is decrypted from its sops file "
        + "when the boot loader is installed. Set ${i.option}.neededForInitrd to true "
        + "to say so, and to silence this notice."
      )
      ++
        optional
          (
            e ? source
            && builtins.any (d: paths.isBelow d e.source) [
              "/run/secrets"
              "/run/secrets-for-users"
            ]
          )
          (
            "${secretOption e.path}: its source ${e.source} is no declared secret. What "
            + "is there when the boot loader is "
            + "installed comes from the configuration that runs at that moment: declare it in sops.secrets."
          )
    ) entries
  );

  # NixOS's own modules put files there that are no secrets, or trust whoever wrote the
  # configuration to know.
  allowedInStore = lib.genAttrs (map paths.clean cfg.initrd.allowedStoreSources) (_: null);
  storeWarnings = concatLists (
    map (
      e:
      optional (e ? source && paths.inStore e.source && !allowedInStore ? ${e.path}) (
        "${secretOption e.path}: its source ${paths.plain e.source} is in the Nix "
        + "store, where everybody can read it. Keep it "
        + "in a sops file, or, if it is not secret, add ${builtins.toJSON e.path} to sops.initrd.allowedStoreSources."
      )
    ) entries
  );

  usersFaults = map (
    i:
    "${i.option}: neededForInitrd and neededForUsers are both set, but a secret has one place; "
    + "declare it twice, under two names with the same key"
  ) (builtins.filter (i: i.item.neededForUsers) wanted.items);

  # Where the boot loader keeps initrds.
  bootMounts = lib.unique (
    (
      if loader.systemd-boot.enable or false then
        let
          xbootldr = loader.systemd-boot.xbootldrMountPoint or null;
        in
        [ (if xbootldr != null then xbootldr else loader.efi.efiSysMountPoint) ]
      else if loader.grub.enable or false then
        map (b: b.path) (loader.grub.mirroredBoots or [ { path = "/boot"; } ])
      else
        [ loader.efi.efiSysMountPoint ]
    )
    ++ lib.optionals (cfg.initrd.loader != null) cfg.initrd.bootDirectories
  );
  # vfat has no owners: who can read a file is decided by the options of the mount. Its group is
  # root's, unless gid says otherwise.
  readable =
    mount:
    let
      fileSystem = config.fileSystems.${mount} or null;
      options = lib.concatMap (lib.splitString ",") fileSystem.options;
      values = name: map (lib.removePrefix "${name}=") (builtins.filter (lib.hasPrefix "${name}=") options);
      # Octal; the default is the umask of whoever mounts, which is 0022.
      mask = names: lib.last ([ "0022" ] ++ lib.concatMap values names);
      # Whether the mask leaves the permission (an octal digit) to others, or to the group. What is
      # no octal number is not judged.
      leaves =
        permission: mask:
        builtins.match "[0-7]+" mask != null
        && builtins.any (digit: builtins.bitAnd (lib.toIntBase10 digit) permission == 0) (
          lib.take (if values "gid" == [ ] then 1 else 2) (
            lib.reverseList (lib.stringToCharacters "00${mask}")
          )
        );
    in
    fileSystem != null
    && builtins.elem fileSystem.fsType [
      "vfat"
      "msdos"
    ]
    && leaves 4 (mask [ "umask" "fmask" ])
    && leaves 1 (mask [ "umask" "dmask" ]);

  # What can be done where the boot loader does not install initrd secrets.
  instead =
    if loader.initScript.enable or false then
      "boot.loader.initScript starts the system without an initrd, so there is nothing that they could be put into. "
      + "Unlock what they are for from outside, or use a boot loader that loads an initrd."
    else if loader.external.enable or false then
      "If the program in boot.loader.external.installHook runs append-initrd-secrets itself, set "
      + "boot.loader.supportsInitrdSecrets to true; otherwise say with sops.initrd.loader how it writes its entries "
      + "(\"listed\" where nothing else fits)."
    else
      "Use systemd-boot, GRUB, limine, lanzaboote, generic-extlinux-compatible, rEFInd or a Raspberry Pi's firmware.";

  failing = map (message: {
    assertion = false;
    inherit message;
  });
in
{
  config = lib.mkMerge [
    { assertions = failing (usersFaults ++ displacedFaults); }
    (lib.mkIf cfg.initrd.active {
      assertions = [
        {
          assertion = loader.supportsInitrdSecrets;
          message = ''
            These secrets are needed in the initrd, but the boot loader does not install any there
            (boot.loader.supportsInitrdSecrets is false):
            ${lib.concatMapStringsSep "\n" (e: "- ${e.path}") (builtins.filter (e: !e ? source) entries)}
            ${instead}
            In a variant that can do without them, such as virtualisation.vmVariant, set sops.initrd.enable to false,
            and disable what else puts files there, such as boot.initrd.network.ssh.'';
        }
      ]
      ++ failing (pathFaults ++ duplicateFaults);

      warnings =
        notices
        ++ unreadable
        ++ storeWarnings
        ++ map (
          mount:
          "Initrd secrets are installed in ${mount}, where every user of this host can read them: "
          + "add \"umask=0077\" to fileSystems.${builtins.toJSON mount}.options."
        ) (builtins.filter readable bootMounts);
    })
  ];
}
