# Every configuration of the documentation: nothing is wrong with it, and nothing to warn of.
# Options of NixOS that only the documentation sets are in docs/stage/nixos.nix.
{
  lib,
  evaluate,
  ...
}:

let
  docs = ../../../../docs;
  configurations = builtins.filter (lib.hasSuffix ".nix") (
    builtins.attrNames (lib.filterAttrs (_: type: type == "regular") (builtins.readDir (docs + "/examples")))
  );
in
lib.listToAttrs (
  map (
    file:
    lib.nameValuePair file {
      expr = {
        inherit
          (evaluate {
            config = {
              imports = [
                (docs + "/examples/${file}")
                (docs + "/stage/nixos.nix")
              ];
              # Their sops files are the reader's.
              sops.validateSopsFiles = false;
            };
          })
          faults
          warnings
          ;
      };
      expected = {
        faults = [ ];
        warnings = [ ];
      };
    }
  ) configurations
)
