# Runs tests, each { name, expr, expected }, and says for people what failed.
{ lib }:
tests:

let
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
lib.concatMapStrings (r: "ok   ${r.name}\n") (builtins.filter (r: r.ok) results)
+ lib.concatMapStrings describe failed
+ "${toString (builtins.length results)} tests, ${toString (builtins.length failed)} failed\n"
