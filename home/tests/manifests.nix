# What both modules make of the same configurations: the manifest, when the unit starts, and whether
# an assertion fails. Differences are named here with their reasons; reference-manifests.json has what
# sops-nix makes (commit 56b2406).
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
  plain = manifest: removeAttrs manifest ourFields // {
    secrets = map (s: removeAttrs s ourItemFields) manifest.secrets;
    templates = map (t: removeAttrs t (ourItemFields ++ lib.optional (t ? content) "file")) (
      map (t: if t ? content && t ? file && t.file != "/${t.content}" then removeAttrs t [ "content" ] else t) manifest.templates
    );
  };
  comparable = result: result // lib.optionalAttrs (result ? manifest) { manifest = plain result.manifest; };

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
    templates = {
      "manifest.templates.t.path" = "in sops.defaultSymlinkPath, wherever that is";
    };
  };

  recorded = builtins.fromJSON (builtins.readFile ./reference-manifests.json);
  declared = lib.mapAttrs (_: made (reference + "/modules/home-manager/sops.nix")) variants;
  found = lib.mapAttrs (
    name: variant: differences (comparable recorded.${name}) (comparable (made ../../modules/home-manager/sops.nix variant))
  ) variants;
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
    + lib.optionalString (reference != null && declared != recorded) "reference-manifests.json is not what this sops-nix makes\n";
}
