# What can go wrong with secrets in the initrd and is known while evaluating.
{ config, lib, ... }:

let
  inherit (lib) concatLists mapAttrsToList optional;

  cfg = config.sops;
  paths = import ./paths.nix { inherit lib; };
  loader = config.boot.loader;
  entries = cfg.initrd.entries;

  option = kind: name: "sops.${kind}.${lib.strings.escapeNixIdentifier name}";
  secretOption = path: "boot.initrd.secrets.${builtins.toJSON path}";

  # Secrets and templates, each with the name of its option.
  items =
    mapAttrsToList (name: item: item // { option = option "secrets" name; }) cfg.secrets
    ++ mapAttrsToList (name: item: item // { option = option "templates" name; }) cfg.templates;
  marked = builtins.filter (item: item.neededForInitrd) items;
  itemOf =
    e:
    lib.findFirst (
      item:
      if e ? secret then item ? sopsFile && item.name == e.secret else item ? content && item.name == e.template
    ) null items;

  fault = condition: message: optional condition message;

  # The copy loops of stage 1 expand names without quotes.
  special = [
    " "
    "\t"
    "\n"
    "*"
    "?"
    "["
    "]"
    "\\"
  ];
  unclean =
    path:
    if path == "/" then
      "is the root directory"
    else if builtins.elem ".." (lib.splitString "/" path) then
      "contains \"..\""
    else if builtins.any (c: lib.hasInfix c path) special then
      "contains white space or one of *?[]\\, which stage 1 cannot copy"
    else
      null;

  # Stage 1 mounts something over these.
  covered = path: builtins.any (d: paths.isBelow d path) [
    "/run"
    "/dev"
    "/proc"
    "/sys"
  ];

  pathFaults = concatLists (
    map (
      e:
      let
        item = itemOf e;
        name =
          if item != null && item.neededForInitrd && paths.clean item.initrd.path == e.path then
            "${item.option}.initrd.path"
          else
            secretOption e.path;
        reason = unclean e.path;
      in
      fault (reason != null) "${name}: ${builtins.toJSON e.path} ${toString reason}; use another path"
      ++ fault (e ? prefix && covered e.path)
        "${name}: ${e.path} cannot be in the image itself, because stage 1 mounts a file system over it; unset initrd.early of ${item.option}, or use another path"
    ) entries
  );

  groupedBy = f: list: builtins.attrValues (lib.filterAttrs (_: l: builtins.length l > 1) (lib.groupBy f list));
  duplicateFaults =
    map (
      same:
      "${lib.concatMapStringsSep " and " (item: "${item.option}.initrd.path") same} are the same, ${(builtins.head same).initrd.path}; give each its own"
    ) (groupedBy (item: paths.clean item.initrd.path) marked)
    ++ map (
      same: "boot.initrd.secrets names ${(builtins.head same).path} ${toString (builtins.length same)} times, in different spellings; keep one"
    ) (groupedBy (e: e.path) entries);

  # boot.initrd.secrets may say something else for the place of a marked secret.
  displacedFaults = concatLists (
    map (
      item:
      let
        at = builtins.filter (e: e.path == paths.clean item.initrd.path) entries;
        isOurs = e: (e.secret or null) == item.name && item ? sopsFile || (e.template or null) == item.name && item ? content;
      in
      fault (at != [ ] && !builtins.any isOurs at)
        "${item.option} is needed in the initrd at ${item.initrd.path}, but ${secretOption item.initrd.path} puts something else there; remove that, or set ${item.option}.initrd.path"
    ) marked
  );

  storeFaults = concatLists (
    map (
      e:
      fault (
        e ? source
        && paths.inStore e.source
        && !builtins.elem e.path (map paths.clean cfg.initrd.allowedStoreSources)
      ) "${secretOption e.path}: its source ${paths.plain e.source} is in the Nix store, where everybody can read it; keep it in a sops file, or, if it is not secret, use boot.initrd.systemd.contents or name it in sops.initrd.allowedStoreSources"
    ) entries
  );

  usersFaults = map (
    item:
    "${item.option}: neededForInitrd and neededForUsers are both set, but a secret has one place; declare it twice, under two names with the same key"
  ) (builtins.filter (item: item.neededForUsers) marked);

  # vfat has no owners: who can read a file is decided by the options of the mount. Its group is root's, unless gid says otherwise.
  bootMounts = lib.unique (
    optional (loader.systemd-boot.enable or false) (
      let
        xbootldr = loader.systemd-boot.xbootldrMountPoint or null;
      in
      if xbootldr != null then xbootldr else loader.efi.efiSysMountPoint
    )
    ++ optional (!(loader.systemd-boot.enable or false)) loader.efi.efiSysMountPoint
    ++ lib.optionals (loader.grub.enable or false) (map (b: b.path) (loader.grub.mirroredBoots or [ ]))
    ++ lib.optionals (cfg.initrd.loader != null) cfg.initrd.bootDirectories
  );
  readable =
    mount:
    let
      fileSystem = config.fileSystems.${mount} or null;
      options = lib.concatMap (lib.splitString ",") fileSystem.options;
      values =
        names:
        concatLists (
          map (name: map (lib.removePrefix "${name}=") (builtins.filter (lib.hasPrefix "${name}=") options)) names
        );
      # Octal; the default is the umask of whoever mounts, which is 0022.
      mask = names: lib.last ([ "0022" ] ++ values names);
      digits = mask: map lib.toIntBase10 (lib.reverseList (lib.stringToCharacters mask));
      # Whether the mask leaves the permission (an octal digit) to others, or to the group.
      leaves =
        permission: mask:
        builtins.any (digit: builtins.bitAnd digit permission == 0) (
          lib.take (if values [ "gid" ] == [ ] then 1 else 2) (
            digits mask
            ++ [
              0
              0
            ]
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
in
{
  config = lib.mkMerge [
    {
      assertions = map (message: {
        assertion = false;
        inherit message;
      }) usersFaults;
    }
    (lib.mkIf cfg.initrd.active {
      assertions = [
        {
          assertion = loader.supportsInitrdSecrets;
          message = ''
            The boot loader of this configuration does not install initrd secrets (boot.loader.supportsInitrdSecrets is false), but these are needed:
            ${lib.concatMapStringsSep "\n" (e: "- ${e.path}") (builtins.filter (e: !e ? source) entries)}
            ${
              if loader.initScript.enable or false then
                "boot.loader.initScript starts the system without an initrd, so there is nothing that they could be put into. Unlock what they are for from outside, or use a boot loader that loads an initrd; or"
              else if loader.external.enable or false then
                "If the program in boot.loader.external.installHook runs append-initrd-secrets itself, set boot.loader.supportsInitrdSecrets to true; otherwise say with sops.initrd.loader how it writes its entries (\"listed\" where nothing else fits). Or"
              else
                "Use systemd-boot, GRUB, limine, lanzaboote, generic-extlinux-compatible, rEFInd or a Raspberry Pi's firmware; or"
            }, in a variant such as virtualisation.vmVariant that can do without them, set sops.initrd.enable to false.'';
        }
      ]
      ++ map
        (message: {
          assertion = false;
          inherit message;
        })
        (concatLists [
          pathFaults
          duplicateFaults
          displacedFaults
          storeFaults
        ]);

      warnings =
        concatLists (
          map (
            e:
            let
              item = itemOf e;
            in
            optional (item != null && !item.neededForInitrd)
              "${secretOption e.path} is decrypted from its sops file when the boot loader is installed. Set ${item.option}.neededForInitrd to true to say so, and to silence this notice."
          ) entries
        )
        ++ concatLists (
          map (
            e:
            optional
              (
                e ? source
                && builtins.any (d: paths.isBelow d e.source) [
                  "/run/secrets"
                  "/run/secrets-for-users"
                ]
              )
              "${secretOption e.path}: its source ${e.source} is no declared secret. What is there when the boot loader is installed comes from the configuration that runs at that moment: declare it in sops.secrets."
          ) entries
        )
        ++ map (
          mount:
          "Initrd secrets are installed in ${mount}, where every user of this host can read them: add \"umask=0077\" to fileSystems.${builtins.toJSON mount}.options."
        ) (builtins.filter readable bootMounts);
    })
  ];
}
