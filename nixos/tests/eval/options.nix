# The options references of the documentation, in Markdown, from the modules themselves. An option
# without a description fails here.
{
  libPath,
  homeManager ? null, # a checkout: for the page of its module
}:

let
  lib = import libPath;
  inherit
    (
      if homeManager == null then
        import ./evaluate.nix { inherit lib; }
      else
        import ../../../home/tests/evaluate.nix { inherit libPath homeManager; }
    )
    evaluate
    ;
  inherit (lib) concatMapStrings removeSuffix;

  options = builtins.filter (o: o.visible && !o.internal) (
    lib.optionAttrSetToDocList { inherit ((evaluate { }).options) sops; }
  );

  # Roles of NixOS's manual, such as {file}`/run`, have no meaning elsewhere.
  roles = [ "command" "env" "file" "option" "var" ];
  plain = builtins.replaceStrings (map (role: "{${role}}`") roles) (map (_: "`") roles);
  trimmed = text: removeSuffix "\n" (plain text);

  shown =
    label: value:
    let
      text = removeSuffix "\n" value.text;
    in
    if value._type == "literalMD" then
      "* ${label}: ${plain text}\n"
    else if lib.hasInfix "\n" text then
      "* ${label}:\n\n  ```text\n${concatMapStrings (line: "  ${line}\n") (lib.splitString "\n" text)}  ```\n"
    else
      # A code span with backquotes in it would need longer ones.
      "* ${label}: `${text}`\n";

  entry = o: ''
    ## `${o.name}`

    ${trimmed (o.description.text or o.description)}

    * type: ${o.type}
    ${lib.optionalString o.readOnly "* read only\n"}${
      lib.optionalString (o ? default) (shown "default" o.default)
    }${lib.optionalString (o ? example) (shown "example" o.example)}'';

  module = if homeManager == null then "NixOS" else "home-manager";
in
{
  markdown = ''
    # Options${lib.optionalString (homeManager != null) " for home-manager"}

    All options of the ${module} module. This page is made from the module by `nixos/tests/eval/run --update`.

  ''
  + lib.concatMapStringsSep "\n" entry options;
}
