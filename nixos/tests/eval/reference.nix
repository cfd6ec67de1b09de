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

  optionsOf =
    module:
    let
      inherit (import ./evaluate.nix { inherit lib module; }) evaluate;
      list = lib.optionAttrSetToDocList { inherit ((evaluate { sshd = false; }).options) sops; };
    in
    lib.listToAttrs (
      map
        (
          o:
          lib.nameValuePair (lib.removePrefix "sops." o.name) (
            { inherit (o) type; }
            // lib.optionalAttrs (o ? default) {
              # Texts of computed defaults are words for people.
              default = if o.default._type or null == "literalMD" then "computed" else o.default.text;
            }
          )
        )
        (
          builtins.filter (
            o: !o.internal && !lib.hasInfix "_module" o.name && !lib.hasPrefix "sops.placeholder" o.name
          ) list
        )
    );

  theirs = builtins.fromJSON (builtins.readFile ./reference-options.json);
  ours = optionsOf ../../../modules/sops;

  differing =
    field:
    builtins.attrNames (
      lib.filterAttrs (name: o: ours ? ${name} && (o.${field} or null) != (ours.${name}.${field} or null)) theirs
    );

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
  found = {
    missing = builtins.attrNames (removeAttrs theirs (builtins.attrNames ours));
    type = differing "type";
    default = differing "default";
  };

  unexplained = lib.mapAttrs (what: names: lib.subtractLists (builtins.attrNames reasons.${what}) names) found;
  outdated = lib.mapAttrs (what: names: lib.subtractLists names (builtins.attrNames reasons.${what})) found;
in
{
  recorded = optionsOf (reference + "/modules/sops");

  # What is wrong, for people; nothing if all is well.
  report =
    let
      say = names: words: lib.concatLists (
        lib.mapAttrsToList (what: map (name: "${name}: its ${what} ${words}\n")) names
      );
    in
    lib.concatStrings (
      say unexplained "differs from that of sops-nix, without a reason"
      ++ say outdated "is that of sops-nix: remove the reason"
      ++ lib.optional (
        reference != null && optionsOf (reference + "/modules/sops") != theirs
      ) "reference-options.json is not what this sops-nix declares\n"
    );
}
