# The stand-ins for packages, with what home-manager's modules look at besides.
{
  lib,
  isLinux,
  transparent,
}:

let
  base = import ../../../nixos/tests/eval/stand-ins/pkgs.nix { inherit lib isLinux; };

  hostPlatform = lib.systems.elaborate (if isLinux then "x86_64-linux" else "aarch64-darwin");

  # A generator of files. Its types are those of anything.
  format = _: {
    type = lib.types.attrsOf lib.types.anything;
    lib.types.atom = lib.types.anything;
    generate = name: value: pkgs.writeText name (builtins.toJSON value);
  };

  named = lib.genAttrs [
    "glibcLocales"
  ] (
    name: base.writeText name name // { version = "1"; }
  );

  pkgs =
    base
    // named
    // {
      path = ./nixpkgs;
      stdenv = base.stdenv // {
        inherit hostPlatform;
        inherit (hostPlatform) isDarwin isLinux;
        buildPlatform = hostPlatform;
      };
      formats = lib.genAttrs [
        "cdn"
        "gitIni"
        "hocon"
        "ini"
        "iniWithGlobalSection"
        "javaProperties"
        "json"
        "keyValue"
        "libconfig"
        "plist"
        "toml"
        "xml"
        "yaml"
      ] (_: format);
      writeTextFile =
        { text, ... }@arguments:
        base.writeTextFile arguments // lib.optionalAttrs transparent { outPath = "/${text}"; };
      writeText = name: text: pkgs.writeTextFile { inherit name text; };
      writeShellScript = pkgs.writeText;
    };
in
pkgs
