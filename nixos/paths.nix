# Pure functions about paths that come from options. An option of type path may hold a string, a Nix
# path or a derivation.
{ lib }:

let
  inherit (lib)
    concatStringsSep
    filter
    hasPrefix
    splitString
    ;
in
rec {
  # The text of a path on the host. A Nix path outside of the store stays where it is: interpolating
  # it would copy the file, perhaps a private key, into the store. One inside of the store gets the
  # context that keeps it in the closure.
  hostPath = path: if builtins.isPath path && !isStorePath (toString path) then toString path else "${path}";

  # The same without context, for comparing and for attribute names.
  plain = path: builtins.unsafeDiscardStringContext (hostPath path);

  # Whether the file is in the store, where everybody can read it.
  inStore = path: isStorePath (plain path);
  isStorePath = hasPrefix "${builtins.storeDir}/";

  # Whether interpolating the path gives one in the store: Nix paths are copied there.
  endsInStore = path: builtins.isPath path || inStore path;

  # A store path that has to be built before it can be looked at. Looking at it while evaluating
  # would be an import from a derivation.
  needsBuild =
    path:
    !builtins.isPath path && lib.any (c: c ? outputs) (builtins.attrValues (builtins.getContext "${path}"));

  # Absolute, without empty and "." components. The stock hook puts destinations behind a directory,
  # so that "etc/x" and "//etc/x" mean /etc/x.
  clean = path: "/" + concatStringsSep "/" (filter (c: c != "" && c != ".") (splitString "/" path));

  isBelow = directory: path: hasPrefix "${if directory == "/" then "" else directory}/" path;

  # The directories above a clean path, nearest first, "/" last.
  above = path: if path == "/" then [ ] else [ (dirOf path) ] ++ above (dirOf path);

  # One word in the settings of systemd units and of tmpfiles, which split at white space and expand
  # "%".
  systemdWord =
    path:
    let
      escaped = builtins.replaceStrings [ "%" "\\" "\"" ] [ "%%" "\\\\" "\\\"" ] path;
    in
    if builtins.match "[^[:space:]\"'\\]*" path != null then escaped else "\"${escaped}\"";
}
