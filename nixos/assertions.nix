# What a type cannot say about secrets: each assertion names the option, what is wrong, and what to set.
{ config, lib, ... }:

let
  inherit (lib) concatLists mapAttrsToList optional;

  cfg = config.sops;
  paths = import ./paths.nix { inherit lib; };
  option = kind: name: "sops.${kind}.${lib.strings.escapeNixIdentifier name}";

  # f kind name value for every secret and every template.
  forEach =
    f:
    concatLists (mapAttrsToList (f "secrets") cfg.secrets)
    ++ concatLists (mapAttrsToList (f "templates") cfg.templates);

  keyPaths =
    map (path: {
      name = "sops.age.sshKeyPaths";
      inherit path;
    }) cfg.age.sshKeyPaths
    ++ map (path: {
      name = "sops.gnupg.sshKeyPaths";
      inherit path;
    }) cfg.gnupg.sshKeyPaths
    ++ optional (cfg.age.keyFile != null) {
      name = "sops.age.keyFile";
      path = cfg.age.keyFile;
    };

  installedAt =
    path:
    forEach (
      kind: name: item:
      optional (item.path == path) (option kind name)
    );

  isNumber = id: id != null && id != 0;
  ownerConflicts = forEach (
    kind: name: item:
    optional (item.owner != null && isNumber item.uid)
      "${option kind name}: owner (${item.owner}) and uid (${toString item.uid}) are both set; set only one of them"
    ++ optional (item.group != null && isNumber item.gid)
      "${option kind name}: group (${item.group}) and gid (${toString item.gid}) are both set; set only one of them (group follows from owner)"
  );

  # Placeholders of secrets that a template cannot have, because they are not installed together with it.
  missing =
    set: where: hint:
    concatLists (
      mapAttrsToList (
        name: template:
        map (
          secret:
          "${option "templates" name} uses sops.placeholder.${lib.strings.escapeNixIdentifier secret}, but ${option "secrets" secret} is not installed ${where}; ${hint}"
        ) (
          builtins.filter (secret: cfg.manifest.uses secret template) (
            builtins.attrNames (removeAttrs cfg.secrets (builtins.attrNames set.secrets))
          )
        )
      ) (lib.filterAttrs (_: t: !t.hasFile || !paths.needsBuild t.file) set.templates)
    );

  failing = message: {
    assertion = false;
    inherit message;
  };

  mutableUsersMatter = config.systemd.sysusers.enable or false;
in
{
  config = lib.mkIf (cfg.secrets != { } || cfg.templates != { }) {
    assertions = [
      {
        assertion = cfg.secrets != { } -> keyPaths != [ ] || cfg.gnupg.home != null;
        message = "sops has no key to decrypt secrets with: enable services.openssh, or set sops.age.keyFile, sops.age.sshKeyPaths, sops.gnupg.sshKeyPaths or sops.gnupg.home";
      }
      {
        assertion = cfg.gnupg.home == null || cfg.gnupg.sshKeyPaths == [ ];
        message = "sops.gnupg.home and sops.gnupg.sshKeyPaths are both set; set sops.gnupg.sshKeyPaths to [ ], or sops.gnupg.home to null";
      }
      {
        assertion = cfg.age.generateKey -> cfg.age.keyFile != null;
        message = "sops.age.generateKey is set, but it does not know where the key belongs: set sops.age.keyFile";
      }
      {
        assertion = cfg.manifest.users.secrets != { } && mutableUsersMatter -> config.users.mutableUsers;
        message = "sops.secrets.<name>.neededForUsers does not work with systemd.sysusers.enable and users.mutableUsers = false, since systemd-sysusers sets no password then: set users.mutableUsers to true, or use services.userborn";
      }
    ]
    ++ concatLists (
      map (
        { name, path }:
        map (
          installer:
          failing "${name}: ${paths.plain path} is installed by ${installer}, so it cannot decrypt secrets: it is not there before they are decrypted; remove it from ${name}"
        ) (installedAt (paths.plain path))
      ) keyPaths
    )
    ++ map failing (concatLists [
      # The reference looks at secrets only while sops files are validated.
      (builtins.filter (m: cfg.validateSopsFiles || lib.hasPrefix "sops.templates." m) ownerConflicts)
      (cfg.manifest.faultsOf cfg.secrets)
      (missing cfg.manifest.regular "at activation with it"
        "set neededForUsers of both or of none, and initrd.only of none"
      )
      (missing cfg.manifest.users "before users are made" "set neededForUsers for it, too")
      (forEach (
        kind: name: item:
        optional (
          item.neededForUsers && (item.uid != 0 && item.owner != "root" || item.gid != 0 && item.group != "root")
        ) "${option kind name}: neededForUsers is set, so it is installed before there are any users, and can only belong to root; remove uid and gid"
      ))
    ]);

    warnings =
      lib.optionals (!cfg.validateSopsFiles) (builtins.filter (lib.hasPrefix "sops.secrets.") ownerConflicts)
      ++ forEach (
        kind: name: item:
        optional (
          item.neededForUsers && !builtins.elem item.owner [
            null
            "root"
          ]
        ) "${option kind name}: owner ${item.owner} has no effect, since neededForUsers installs it before there are any users"
      )
      ++ map (
        { name, path }:
        "${name}: ${paths.plain path} is in the Nix store, where everybody can read it; keep private keys elsewhere"
      ) (builtins.filter (key: paths.inStore key.path) keyPaths);
  };
}
