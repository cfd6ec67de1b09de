# JSON without the context of store paths.
{ lib }:

rec {
  plain = builtins.unsafeDiscardStringContext;

  # With a line for each value down to a depth, to be read in a diff.
  print =
    depth: value:
    if builtins.isAttrs value && value != { } && depth > 0 then
      "{\n"
      + lib.concatStringsSep ",\n" (
        lib.mapAttrsToList (key: v: "${builtins.toJSON key}: ${print (depth - 1) v}") value
      )
      + "\n}"
    else
      plain (builtins.toJSON value);
}
