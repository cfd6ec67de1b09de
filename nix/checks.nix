# Everything that nix flake check runs: the packages, the options reference, the evaluation of the
# module in many configurations, and the tests of nixos/tests in virtual machines. Formatting and
# lint are scripts/check-nix's, in the development shell.
{ pkgs }:

let
  inherit (pkgs) lib;

  # The one of nixos/tests/eval/run.
  home-manager = pkgs.fetchFromGitHub {
    owner = "nix-community";
    repo = "home-manager";
    rev = "ec1a8fdf74ed3f276148ee106299a2ba0e65d51f";
    sha256 = "18kg7v9gg5xknvcwnywj9dz9jwz2c1ka5cj1p0pznwd8m5zamgaw";
  };
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
          ../home
          ../modules
          ../nix
          ../nixos
        ];
      }
    } source
    chmod -R u+w source
    export HOME=$TMPDIR NIX_STATE_DIR=$TMPDIR/state
    HOME_MANAGER=${home-manager} NIXPKGS_LIB=${pkgs.path}/lib bash source/nixos/tests/eval/run
    touch $out
  '';
}
