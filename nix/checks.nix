# Everything that nix flake check runs: the packages, the tests of nixos/tests in virtual machines, and checks of the text.
{ pkgs }:

let
  inherit (pkgs) lib;

  nixFiles = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.fileFilter (file: file.hasExt "nix") ../.;
  };

  text =
    name: packages: command:
    pkgs.runCommand "check-${name}" { nativeBuildInputs = packages; } ''
      cd ${nixFiles}
      ${command}
      touch $out
    '';
in
import ../default.nix { inherit pkgs; }
// import ../nixos/tests { inherit pkgs; }
// {
  option-docs = pkgs.callPackage ./option-docs.nix { };
  nixfmt = text "nixfmt" [ pkgs.nixfmt ] "find . -name '*.nix' -exec nixfmt --check {} +";
  deadnix = text "deadnix" [ pkgs.deadnix ] "deadnix --fail .";
  statix = text "statix" [ pkgs.statix ] "statix check .";

  evaluation = pkgs.runCommand "check-evaluation" { nativeBuildInputs = [ pkgs.nix ]; } ''
    cp -r ${
      lib.fileset.toSource {
        root = ../.;
        fileset = lib.fileset.unions [
          ../default.nix
          ../docs/examples
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
