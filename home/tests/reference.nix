# The options of this module beside those of sops-nix's home-manager module: every difference is named
# here with its reason. reference-options.json has what sops-nix declares (commit 56b2406).
{
  libPath,
  homeManager,
  reference ? null, # a checkout of sops-nix
}:

let
  lib = import libPath;
  compare = import ../../nixos/tests/eval/compare-options.nix { inherit lib; };
  optionsOf =
    module:
    let
      inherit (import ./evaluate.nix { inherit libPath homeManager module; }) evaluate;
    in
    compare.describe (evaluate { }).options;
  declared = if reference == null then null else optionsOf (reference + "/modules/home-manager/sops.nix");

  of = reason: names: lib.genAttrs names (_: reason);
  each = fields: lib.concatMap (kind: map (field: "${kind}.<name>.${field}") fields) [ "secrets" "templates" ];
in
{
  recorded = declared;

  report = compare.report {
    ours = optionsOf ../../modules/home-manager/sops.nix;
    recorded = builtins.fromJSON (builtins.readFile ./reference-options.json);
    inherit declared;
    reasons = {
      missing = { };
      type =
        of "kinds of sops file that there are, so that a misspelt one is found while evaluating" [ "defaultSopsFormat" ]
        // of "the same kinds, in another order" [ "secrets.<name>.format" ]
        // of "also refuses what is no absolute path" [ "age.keyFile" ]
        // of "what is no mode is found while evaluating" (each [ "mode" ])
        // of "a line break in a name or path is a mistake" [
          "defaultSecretsMountPoint"
          "defaultSymlinkPath"
          "secrets.<name>.name"
          "secrets.<name>.path"
        ];
      default =
        of "whole files by default where sops-nix installs whole files whatever the key" [ "secrets.<name>.key" ]
        // of "in sops.defaultSymlinkPath, as secrets are, wherever that is" [ "templates.<name>.path" ]
        // of "a program of ours" [ "package" ]
        // of "the same value, in other words" (
          [
            "defaultSymlinkPath"
            "secrets.<name>.format"
            "secrets.<name>.path"
            "secrets.<name>.sopsFile"
            "templates.<name>.file"
          ]
          ++ each [ "name" ]
        );
    };
  };
}
