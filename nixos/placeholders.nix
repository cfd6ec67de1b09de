# Which secrets a template uses, by the placeholders in its text.
{ lib }:

let
  plain = builtins.unsafeDiscardStringContext;
  default = name: "<SOPS:${builtins.hashString "sha256" name}:PLACEHOLDER>";

  # The placeholders of the default form in a text. One pass, however many secrets there are.
  found =
    text:
    map builtins.head (
      builtins.filter builtins.isList (builtins.split "(<SOPS:[0-9a-f]{64}:PLACEHOLDER>)" (plain text))
    );

  contains = part: whole: builtins.replaceStrings [ part ] [ "" ] whole != whole;
in
{
  inherit default;

  # usedIn placeholders text: the names of the secrets whose placeholders (name = placeholder) occur
  # in the text.
  usedIn =
    placeholders:
    let
      byPlaceholder = lib.mapAttrs' (name: placeholder: lib.nameValuePair (plain placeholder) name) placeholders;
      # Whoever sets a placeholder may give it any form.
      others = lib.filterAttrs (name: placeholder: placeholder != default name) placeholders;
    in
    text:
    lib.unique (
      builtins.attrValues (builtins.intersectAttrs (lib.genAttrs (found text) (_: null)) byPlaceholder)
      ++ builtins.attrNames (lib.filterAttrs (_: placeholder: contains placeholder text) others)
    );
}
