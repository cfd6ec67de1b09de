# Runs the cases: every file in cases/ is a set of tests, each with an expression and the value that
# it has to have.
#
#   nix-instantiate --eval --strict --json nixos/tests/eval -A report --arg libPath /path/to/nixpkgs/lib
{
  libPath,
}:

let
  lib = import libPath;
  inherit (import ./evaluate.nix { inherit lib; }) evaluate pkgs;

  files = builtins.filter (lib.hasSuffix ".nix") (builtins.attrNames (builtins.readDir ./cases));
  tests = lib.concatMap (
    file:
    lib.mapAttrsToList (name: test: {
      name = "${lib.removeSuffix ".nix" file}: ${name}";
      inherit (test) expr expected;
    }) (import (./cases + "/${file}") { inherit lib evaluate pkgs assets; })
  ) files;
  assets = ../assets;
in
{
  inherit tests;
  report = import ./report.nix { inherit lib; } tests;
}
