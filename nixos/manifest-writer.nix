# Writes manifests: the JSON documents that the programs read, and check when they are built.
{
  lib,
  pkgs,
  cfg, # config.sops
  formats,
  paths,
}:

let
  values = builtins.attrValues;

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
in
rec {
  keySources = {
    sshKeyPaths = cfg.gnupg.sshKeyPaths;
    gnupgHome = cfg.gnupg.home;
    ageKeyFile = cfg.age.keyFile;
    ageSshKeyPaths = cfg.age.sshKeyPaths;
  }
  // lib.optionalAttrs (cfg.keyTimeout != 30) { inherit (cfg) keyTimeout; }; # the programs' own default

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

  # By secret, what is wrong with its sops file.
  fileFaults = lib.mapAttrs (name: secret: lib.optionals cfg.validateSopsFiles (faultsOf name secret)) cfg.secrets;

  write =
    {
      name,
      secrets,
      checks, # commands
      value,
    }:
    let
      faults = lib.concatLists (values (builtins.intersectAttrs secrets fileFaults));
    in
    lib.throwIf (faults != [ ]) "sops files cannot be used:\n${lib.concatMapStrings (f: "- ${f}\n") faults}" (
      pkgs.writeTextFile {
        inherit name;
        text = builtins.toJSON value;
        checkPhase = lib.concatMapStrings (check: "${check} \"$target\"\n") checks;
      }
    );

  # Arguments of the program that knows recipients.
  recipients = lib.concatMapStrings (key: " --recipient ${lib.escapeShellArg key}") (
    lib.optionals cfg.validateSopsFiles cfg.hostRecipients
  );

  # What sops-install-secrets installs.
  activation =
    {
      suffix,
      secrets,
      templates,
      secretsMountPoint,
      symlinkPath,
      checkRecipients, # a command
      extra, # fields that only one kind of manifest has
    }:
    write {
      name = "manifest${suffix}.json";
      inherit secrets;
      checks = [
        "${cfg.validationPackage}/bin/sops-install-secrets -check-mode=${
          if cfg.validateSopsFiles then "sopsfile" else "manifest"
        }"
      ]
      # It reads the fields that all manifests share.
      ++ lib.optional (recipients != "") checkRecipients;
      value =
        keySources
        // {
          version = 1;
          secrets = map (s: installed s // source s) (values secrets);
          templates = map (t: installed t // text t) (values templates);
          placeholderBySecretName = lib.optionalAttrs (templates != { }) (placeholdersOf secrets);
          inherit secretsMountPoint symlinkPath;
          inherit (cfg) keepGenerations;
          generateAgeKey = cfg.age.generateKey;
          logging = lib.genAttrs [ "keyImport" "secretChanges" ] (what: builtins.elem what cfg.log);
        }
        // extra;
    };
}
