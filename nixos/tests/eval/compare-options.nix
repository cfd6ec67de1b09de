# Options beside those of sops-nix: every difference is to be named with its reason.
{ lib }:

{
  # By name, the types and defaults of evaluated options.
  describe =
    options:
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
          ) (lib.optionAttrSetToDocList { inherit (options) sops; })
        )
    );

  # What is wrong, for people; nothing if all is well.
  report =
    {
      ours,
      recorded, # what sops-nix declared
      declared ? null, # what the sops-nix at hand declares
      reasons, # for what is missing, has another type, or another default: by name
    }:
    let
      differing =
        field:
        builtins.attrNames (
          lib.filterAttrs (name: o: ours ? ${name} && (o.${field} or null) != (ours.${name}.${field} or null)) recorded
        );
      found = {
        missing = builtins.attrNames (removeAttrs recorded (builtins.attrNames ours));
        type = differing "type";
        default = differing "default";
      };
      unexplained = lib.mapAttrs (what: names: lib.subtractLists (builtins.attrNames reasons.${what}) names) found;
      outdated = lib.mapAttrs (what: names: lib.subtractLists names (builtins.attrNames reasons.${what})) found;
      say = names: words: lib.concatLists (
        lib.mapAttrsToList (what: map (name: "${name}: its ${what} ${words}\n")) names
      );
    in
    lib.concatStrings (
      say unexplained "differs from that of sops-nix, without a reason"
      ++ say outdated "is that of sops-nix: remove the reason"
      ++ lib.optional (
        declared != null && declared != recorded
      ) "what is recorded is not what this sops-nix declares\n"
    );
}
