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

  keySources = {
    sshKeyPaths = cfg.gnupg.sshKeyPaths;
    gnupgHome = cfg.gnupg.home;
    ageKeyFile = cfg.age.keyFile;
    ageSshKeyPaths = cfg.age.sshKeyPaths;
  }
  // lib.optionalAttrs (cfg.keyTimeout != 30) { inherit (cfg) keyTimeout; }; # the programs' own default

  # The fields of sops-nix's manifest, some of which only other programs read. Selecting makes no thunk
  # for each field of each secret, which counts with hundreds of them.
  fields = lib.genAttrs [
    "format"
    "gid"
    "group"
    "mode"
    "name"
    "neededForUsers"
    "owner"
    "path"
    "reloadUnits"
    "restartUnits"
    "sopsFileHash"
    "uid"
  ] (_: null);
  installed = item: builtins.intersectAttrs fields item;

  source = secret: {
    inherit (secret) name format;
    key = if builtins.elem secret.format formats.optional && !secret.extractKey then "" else secret.key;
    # A sops file given as a Nix path is copied into the store; a string stays as it is.
    sopsFile = "${secret.sopsFile}";
  };

  text =
    template:
    { inherit (template) name; }
    // (if template.hasFile then { file = "${template.file}"; } else { inherit (template) content; });

  # Placeholders are options by attribute name; manifests know secrets by their names.
  placeholdersOf =
    secrets:
    lib.mapAttrs' (attribute: secret: lib.nameValuePair secret.name "${cfg.placeholder.${attribute}}") secrets;

  # What is wrong with the sops file of a secret, for people.
  faultsOf =
    attribute: secret:
    let
      option = "sops.secrets.${lib.strings.escapeNixIdentifier attribute}.sopsFile";
      file = toString secret.sopsFile;
    in
    lib.optional (
      !paths.needsBuild secret.sopsFile && !builtins.pathExists secret.sopsFile
    ) "${option}: there is no file ${file}"
    ++ lib.optional (!paths.endsInStore secret.sopsFile) (
      "${option}: ${file} is not in the Nix store; "
      + "write it as a path (./secrets.yaml), or set sops.validateSopsFiles to false"
    );

  activationManifest =
    {
      suffix,
      secrets,
      templates,
      directory,
    }:
    write {
      name = "manifest${suffix}.json";
      inherit secrets;
      checks = [
        "${cfg.validationPackage}/bin/sops-install-secrets -check-mode=${
          if cfg.validateSopsFiles then "sopsfile" else "manifest"
        }"
      ]
      # It reads the fields that all manifests share, and knows recipients.
      ++ lib.optional (cfg.validateSopsFiles && cfg.hostRecipients != [ ]) checkInitrd;
      value = keySources // {
        version = 1;
        secrets = map (s: installed s // source s) (values secrets);
        templates = map (t: installed t // text t) (values templates);
        placeholderBySecretName = lib.optionalAttrs (templates != { }) (placeholdersOf secrets);
        secretsMountPoint = "${directory}.d";
        symlinkPath = directory;
        inherit (cfg) keepGenerations useTmpfs;
        userMode = false;
        generateAgeKey = cfg.age.generateKey;
        logging = lib.genAttrs [ "keyImport" "secretChanges" ] (what: builtins.elem what cfg.log);
      };
    };

  write =
    {
      name,
      secrets,
      checks,
      value,
    }:
    let
      faults = lib.concatLists (values (builtins.intersectAttrs secrets cfg.manifest.fileFaults));
    in
    lib.throwIf (faults != [ ]) "sops files cannot be used:\n${lib.concatMapStrings (f: "- ${f}\n") faults}" (
      pkgs.writeTextFile {
        inherit name;
        text = builtins.toJSON value;
        checkPhase = lib.concatMapStrings (check: "${check} \"$target\"\n") checks;
      }
    );

  checkInitrd =
    "${cfg.initrd.validationPackage}/bin/sops-initrd check"
    + lib.optionalString (!cfg.validateSopsFiles) " --manifest-only"
    + lib.optionalString cfg.initrd.allowLooseKeys " --allow-loose-keys"
    + lib.concatMapStrings (key: " --recipient ${lib.escapeShellArg key}") (
      lib.optionals cfg.validateSopsFiles cfg.hostRecipients
    );

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
    # By secret, what is wrong with its sops file.
    fileFaults = lib.mapAttrs (name: secret: lib.optionals cfg.validateSopsFiles (faultsOf name secret)) cfg.secrets;
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
