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

  # What cannot be evaluated fails here alone; its reason is found with --show-trace.
  run =
    test:
    let
      got = builtins.tryEval (builtins.deepSeq test.expr test.expr);
    in
    test
    // {
      ok = got.success && got.value == test.expected;
      got = if got.success then lib.generators.toPretty { } got.value else "an evaluation error";
    };
  results = map run tests;
  failed = builtins.filter (r: !r.ok) results;

  describe = r: ''
    FAIL ${r.name}
      want ${lib.generators.toPretty { } r.expected}
      got  ${r.got}
  '';
in
{
  inherit tests;
  report =
    lib.concatMapStrings (r: "ok   ${r.name}\n") (builtins.filter (r: r.ok) results)
    + lib.concatMapStrings describe failed
    + "${toString (builtins.length results)} tests, ${toString (builtins.length failed)} failed\n";
}
