# Evaluates the home-manager module with home-manager's own modules. ../../nixos/tests/eval/run does it.
{
  libPath,
  homeManager, # a checkout
}:

let
  inherit
    (import ./evaluate.nix {
      inherit libPath homeManager;
      transparent = true;
    })
    lib
    pkgs
    evaluate
    ;
in
{
  report = import ../../nixos/tests/eval/report.nix { inherit lib; } (
    lib.mapAttrsToList (name: test: { name = "home: ${name}"; } // test) (
      import ./cases.nix {
        inherit lib pkgs evaluate;
        inNixOS = import ./in-nixos.nix { inherit libPath homeManager; };
      }
    )
  );
}
