# The options of this module beside those of sops-nix: every difference is named here with its reason.
# reference-options.json has what sops-nix declares (commit 56b2406). With a checkout of sops-nix that is
# compared, too, and made anew:
#
#   nix-instantiate --eval --strict --json reference.nix -A recorded --arg libPath … --arg reference …
{
  libPath,
  reference ? null,
}:

let
  lib = import libPath;

  compare = import ./compare-options.nix { inherit lib; };
  optionsOf =
    module:
    let
      inherit (import ./evaluate.nix { inherit lib module; }) evaluate;
    in
    compare.describe (evaluate { sshd = false; }).options;
  declared = if reference == null then null else optionsOf (reference + "/modules/sops");

  of = reason: names: lib.genAttrs names (_: reason);
  each = fields: lib.concatMap (kind: map (field: "${kind}.<name>.${field}") fields) [ "secrets" "templates" ];
  secrets = map (field: "secrets.<name>.${field}");

  reasons = {
    missing = { };
    type =
      of "kinds of sops file that there are, so that a misspelt one is found while evaluating" [ "defaultSopsFormat" ]
      // of "also refuses what is no absolute path" [ "age.keyFile" ]
      // of "no file has a negative owner" (each [ "gid" "uid" ])
      // of "what is no mode is found while evaluating" (each [ "mode" ])
      // of "a line break in a name or path is a mistake" (secrets [ "group" "name" "owner" "path" ]);
    default =
      of "on from NixOS 26.11 on as well, which deprecates activation scripts" [ "useSystemdActivation" ]
      // of "whole files by default where sops-nix installs whole files whatever the key" (secrets [ "key" ])
      // of "a program of ours" [ "package" ]
      // of "the same value, in other words" (
        [ "validationPackage" "templates.<name>.file" "templates.<name>.group" ]
        ++ each [ "name" "path" ]
        ++ secrets [ "format" "sopsFile" "sopsFileHash" ]
      );
  };
in
{
  recorded = declared;

  report = compare.report {
    ours = optionsOf ../../../modules/sops;
    recorded = builtins.fromJSON (builtins.readFile ./reference-options.json);
    inherit declared reasons;
  };
}
