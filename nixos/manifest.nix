# The configuration as the JSON documents that the programs read. Each is checked when it is built,
# by the programs themselves.
{
  formats,
  paths,
  placeholders,
  ...
}:
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib) mkOption types;

  cfg = config.sops;
  values = builtins.attrValues;

  writer = import ./manifest-writer.nix {
    inherit
      lib
      pkgs
      cfg
      formats
      paths
      ;
  };
  inherit (writer)
    keySources
    placeholdersOf
    source
    text
    write
    ;

  activationManifest =
    {
      suffix,
      secrets,
      templates,
      directory,
    }:
    writer.activation {
      inherit suffix secrets templates;
      secretsMountPoint = "${directory}.d";
      symlinkPath = directory;
      checkRecipients = checkInitrd;
      extra = {
        inherit (cfg) useTmpfs;
        userMode = false;
      };
    };

  checkInitrd =
    "${cfg.initrd.validationPackage}/bin/sops-initrd check"
    + lib.optionalString (!cfg.validateSopsFiles) " --manifest-only"
    + lib.optionalString cfg.initrd.allowLooseKeys " --allow-loose-keys"
    + writer.recipients;

  named = what: lib.genAttrs (lib.catAttrs what cfg.initrd.entries) (_: null);
  initrdTemplates =
    let
      templates = named "template";
    in
    lib.filterAttrs (_: template: templates ? ${template.name}) cfg.templates;

  # What the entries of the initrd need, and no more: a secret that cannot be decrypted must not
  # keep the others out.
  initrdSecrets =
    let
      secrets = named "secret";
      inTemplates = values (builtins.intersectAttrs initrdTemplates cfg.manifest.usedBy);
      used = lib.genAttrs (lib.concatLists (builtins.filter (names: names != null) inTemplates)) (_: null);
    in
    if builtins.elem null inTemplates then
      cfg.secrets
    else
      lib.filterAttrs (attribute: secret: used ? ${attribute} || secrets ? ${secret.name}) cfg.secrets;

  usedIn = placeholders.usedIn (
    lib.mapAttrs (attribute: _: "${cfg.placeholder.${attribute}}") cfg.secrets
  );
in
{
  options.sops.manifest = mkOption {
    type = types.attrsOf types.unspecified;
    internal = true;
    readOnly = true;
    description = "What the other files of this module need to know about the manifests.";
  };

  config.sops.manifest = {
    # What is installed at activation, before and after users are made.
    regular = {
      secrets = lib.filterAttrs (_: s: !s.neededForUsers && !s.initrd.only) cfg.secrets;
      templates = lib.filterAttrs (_: t: !t.neededForUsers && !t.initrd.only) cfg.templates;
    };
    users = {
      secrets = lib.filterAttrs (_: s: s.neededForUsers) cfg.secrets;
      templates = lib.filterAttrs (_: t: t.neededForUsers) cfg.templates;
    };
    # ... and in stage 1.
    initrd = {
      secrets = initrdSecrets;
      templates = initrdTemplates;
    };
    # By template, the secrets that it uses. The text of one in a file that has to be built is not
    # known yet: null.
    usedBy = lib.mapAttrs (
      _: template:
      if !template.hasFile then
        usedIn template.content
      else if paths.needsBuild template.file then
        null
      else
        usedIn (builtins.readFile template.file)
    ) cfg.templates;
    inherit (writer) fileFaults;
  };

  config.system.build = {
    sops-nix-manifest = activationManifest (
      cfg.manifest.regular
      // {
        suffix = "";
        directory = "/run/secrets";
      }
    );

    sops-nix-users-manifest = activationManifest (
      cfg.manifest.users
      // {
        suffix = "-for-users";
        directory = "/run/secrets-for-users";
      }
    );

    sops-initrd-manifest = write {
      name = "manifest-initrd.json";
      secrets = initrdSecrets;
      checks = [ checkInitrd ];
      value = keySources // {
        # 2 has sealing, which an older program would ignore, and install in plain.
        version = if builtins.any (e: e ? seal || e ? credential) cfg.initrd.entries then 2 else 1;
        prefix = "/.initrd-secrets";
        secrets = map source (values initrdSecrets);
        templates = map text (values initrdTemplates);
        placeholderBySecretName = placeholdersOf initrdSecrets;
        # A credential has a name instead of a place.
        entries = map (
          e:
          if e ? credential then
            removeAttrs e [
              "path"
              "mode"
              "uid"
              "gid"
            ]
          else
            e
        ) cfg.initrd.entries;
      }
      // lib.optionalAttrs (cfg.lockoutGuard != "off" && cfg.initrd.stageOne != { }) {
        inherit (cfg.initrd) stageOne;
      }
      // lib.optionalAttrs (builtins.any (e: e ? seal || e ? credential) cfg.initrd.entries) {
        seal = {
          inherit (cfg.initrd.seal)
            format
            pcrs
            device
            parent
            ;
        };
      };
    };
  };
}
