# Everything that nix flake check runs: the packages, the options reference, the evaluation of the
# module in many configurations, and the tests of nixos/tests in virtual machines. Formatting and
# lint are scripts/check-nix's, in the development shell.
{ pkgs }:

let
  inherit (pkgs) lib;
in
import ../default.nix { inherit pkgs; }
// import ../nixos/tests { inherit pkgs; }
// {
  go-tests = (import ../default.nix { inherit pkgs; }).default.passthru.tests.go;

  option-docs = pkgs.callPackage ./option-docs.nix { };

  evaluation = pkgs.runCommand "check-evaluation" { nativeBuildInputs = [ pkgs.nix ]; } ''
    cp -r ${
      lib.fileset.toSource {
        root = ../.;
        fileset = lib.fileset.unions [
          ../default.nix
          ../docs
          ../modules
          ../nix
          ../nixos
        ];
      }
    } source
    chmod -R u+w source
    export HOME=$TMPDIR NIX_STATE_DIR=$TMPDIR/state
    NIXPKGS_LIB=${pkgs.path}/lib bash source/nixos/tests/eval/run
    touch $out
  '';
}
