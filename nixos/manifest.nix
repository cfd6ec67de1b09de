# The configuration as the JSON documents that the programs read. Each is checked when it is built, by the programs
# themselves.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib) mkOption types;

  cfg = config.sops;
  paths = import ./paths.nix { inherit lib; };
  values = builtins.attrValues;

  keySources = {
    sshKeyPaths = cfg.gnupg.sshKeyPaths;
    gnupgHome = cfg.gnupg.home;
    ageKeyFile = cfg.age.keyFile;
    ageSshKeyPaths = cfg.age.sshKeyPaths;
  }
  // lib.optionalAttrs (cfg.keyTimeout != 30) { inherit (cfg) keyTimeout; }; # the programs' own default

  # A sops file given as a Nix path is copied into the store; a string stays as it is.
  source = secret: {
    inherit (secret) name key format;
    sopsFile = "${secret.sopsFile}";
  };

  text =
    template:
    { inherit (template) name; }
    // (if template.hasFile then { file = "${template.file}"; } else { inherit (template) content; });

  placement = item: {
    inherit (item)
      path
      mode
      owner
      uid
      group
      gid
      restartUnits
      reloadUnits
      ;
  };

  # Placeholders are options by attribute name; manifests know secrets by their names.
  placeholdersOf =
    secrets:
    lib.mapAttrs' (attribute: secret: lib.nameValuePair secret.name "${cfg.placeholder.${attribute}}") secrets;

  # What is wrong with the sops files of these secrets, for people.
  faultsOf =
    secrets:
    lib.optionals cfg.validateSopsFiles (
      lib.concatLists (
        lib.mapAttrsToList (
          attribute: secret:
          let
            option = "sops.secrets.${lib.strings.escapeNixIdentifier attribute}.sopsFile";
            file = toString secret.sopsFile;
          in
          lib.optional (
            !paths.needsBuild secret.sopsFile && !builtins.pathExists secret.sopsFile
          ) "${option}: there is no file ${file}"
          ++
            lib.optional (!paths.endsInStore secret.sopsFile)
              "${option}: ${file} is not in the Nix store; write it as a path (./secrets.yaml), or set sops.validateSopsFiles to false"
        ) secrets
      )
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
        secrets = map (s: source s // placement s) (values secrets);
        templates = map (t: text t // placement t) (values templates);
        placeholderBySecretName = placeholdersOf secrets;
        secretsMountPoint = "${directory}.d";
        symlinkPath = directory;
        inherit (cfg) keepGenerations useTmpfs;
        userMode = false;
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
      faults = faultsOf secrets;
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
    + lib.concatMapStrings (key: " --recipient ${lib.escapeShellArg key}") (
      lib.optionals cfg.validateSopsFiles cfg.hostRecipients
    );

  # What the entries of the initrd need, and no more: a secret that cannot be decrypted must not keep the others out.
  initrdSecrets =
    let
      named = lib.catAttrs "secret" cfg.initrd.entries;
    in
    lib.filterAttrs (
      attribute: secret:
      builtins.elem secret.name named || builtins.any (uses attribute) (values initrdTemplates)
    ) cfg.secrets;
  initrdTemplates = lib.filterAttrs (
    _: template: builtins.elem template.name (lib.catAttrs "template" cfg.initrd.entries)
  ) cfg.templates;

  # Whether a template uses a secret. The text of one in a file that has to be built is not known yet: it may use them all.
  uses =
    attribute: template:
    let
      placeholder = "${cfg.placeholder.${attribute}}";
    in
    if !template.hasFile then
      contains placeholder template.content
    else
      paths.needsBuild template.file || contains placeholder (builtins.readFile template.file);
  contains = part: whole: builtins.replaceStrings [ part ] [ "" ] whole != whole;
in
{
  options.sops.manifest = mkOption {
    type = types.attrsOf types.unspecified;
    internal = true;
    readOnly = true;
    description = "What the other files of this module need to know about the manifests.";
  };

  config.sops.manifest = rec {
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
    inherit uses faultsOf;
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
        version = 1;
        prefix = "/.initrd-secrets";
        secrets = map source (values initrdSecrets);
        templates = map text (values initrdTemplates);
        placeholderBySecretName = placeholdersOf initrdSecrets;
        inherit (cfg.initrd) entries;
      };
    };
  };
}
