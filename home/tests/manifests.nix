# What the modules of both projects make of the same configurations, of users and of a system: the
# manifest, when the unit starts, and whether an assertion fails. Differences are named here with
# their reasons; reference-manifests.json has what sops-nix makes (commit 56b2406).
{
  libPath,
  homeManager,
  reference ? null, # a checkout of sops-nix
}:

let
  lib = import libPath;
  variants = import ./variants.nix;

  # Store paths are the texts of files here, so that a manifest can be read out of a script.
  evaluate =
    module:
    (import ./evaluate.nix {
      inherit libPath homeManager module;
      transparent = true;
    }).evaluate;

  manifestOf =
    unit:
    let
      command = lib.removeSuffix "\n" (lib.concatStrings (lib.toList unit.Service.ExecStart));
      json = builtins.match ".*/bin/sops-install-secrets -ignore-passwd /(\\{.*})" command;
    in
    builtins.fromJSON (builtins.unsafeDiscardStringContext (builtins.head json));

  ofSystem =
    module:
    let
      r = (import ../../nixos/tests/eval/evaluate.nix { inherit lib module; }).evaluate {
        config = ./system.nix;
      };
    in
    {
      inherit (r) manifest usersManifest;
      faulty = r.faults != [ ];
    };

  made =
    module: variant:
    let
      r = evaluate module { config = variant; };
    in
    {
      faulty = r.faults != [ ];
    }
    // lib.optionalAttrs (r.unit != null && r.faults == [ ]) {
      manifest = manifestOf r.unit;
      inherit (r.unit.Install) WantedBy;
    };

  # What a manifest has besides: fields of ours, and a text beside the file that was made from it.
  ourFields = [
    "generateAgeKey" # sops-nix's script runs age-keygen
    "version"
  ];
  ourItemFields = [
    "reloadUnits"
    "restartUnits"
    "sopsFileHash"
  ];
  plain = ourItemFields: manifest: removeAttrs manifest ourFields // {
    secrets = map (s: removeAttrs s ourItemFields) manifest.secrets;
    templates = map (
      t: removeAttrs t (ourItemFields ++ [ (if t.content or "" == "" then "content" else "file") ])
    ) manifest.templates;
  };
  comparable =
    ourItemFields: result:
    lib.mapAttrs (name: value: if lib.hasSuffix "anifest" name then plain ourItemFields value else value) result;

  flat =
    path: value:
    if builtins.isAttrs value then
      lib.concatLists (lib.mapAttrsToList (name: flat "${path}.${name}") value)
    else if builtins.isList value && value != [ ] then
      # A secret or template by its name.
      lib.concatLists (lib.imap0 (i: v: flat "${path}.${v.name or (toString i)}" v) value)
    else
      [ (lib.nameValuePair (lib.removePrefix "." path) value) ];
  differences =
    a: b:
    let
      x = lib.listToAttrs (flat "" a);
      y = lib.listToAttrs (flat "" b);
    in
    builtins.filter (name: (x.${name} or "absent") != (y.${name} or "absent")) (builtins.attrNames (x // y));

  reasons = {
    # The programs of sops-nix ignore the key of these formats; ours has it ignored here.
    formats = lib.genAttrs (map (s: "manifest.secrets.${s}.key") [ "env" "part" "whole" ]) (_: "whole files");
    # sops-nix looks for the attribute's name, and finds no secret of that name.
    renamed = lib.genAttrs (map (s: "manifest.placeholderBySecretName.${s}") [ "other" "plain" ]) (_: "by name");
    # Placeholders of the secrets that are installed together with the templates, and none where there
    # are no templates.
    system =
      lib.genAttrs (map (s: "usersManifest.placeholderBySecretName.${s}") [
        "document"
        "nested/test/file"
        "password"
        "test_key"
      ]) (_: "there are no templates")
      // {
        "manifest.placeholderBySecretName.password" = "it is installed before";
        "manifest.templates.app.conf.neededForUsers" = "templates can be needed for users, too";
      };
    templates = {
      "manifest.templates.t.path" = "in sops.defaultSymlinkPath, wherever that is";
    };
  };

  recorded = builtins.fromJSON (builtins.readFile ./reference-manifests.json);
  declared = lib.mapAttrs (_: made (reference + "/modules/home-manager/sops.nix")) variants // {
    system = ofSystem (reference + "/modules/sops");
  };
  ours = lib.mapAttrs (_: made ../../modules/home-manager/sops.nix) variants // {
    system = ofSystem ../../modules/sops;
  };
  found = lib.mapAttrs (
    name: result:
    let
      like = comparable (lib.optionals (variants ? ${name}) ourItemFields);
    in
    differences (like recorded.${name}) (like result)
  ) ours;
in
{
  recorded = declared;

  report =
    lib.concatStrings (
      lib.concatLists (
        lib.mapAttrsToList (
          name: paths:
          let
            named = builtins.attrNames (reasons.${name} or { });
          in
          map (p: "${name}: ${p} is not what sops-nix makes of it, without a reason\n") (lib.subtractLists named paths)
          ++ map (p: "${name}: ${p} is what sops-nix makes of it: remove the reason\n") (lib.subtractLists paths named)
        ) found
      )
    )
    + lib.optionalString (
      reference != null && declared != recorded
    ) "reference-manifests.json is not what this sops-nix makes\n";
}
