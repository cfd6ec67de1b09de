# nixpkgs' own file of this name, beside the library that is used.
{ lib }:
import (dirOf (builtins.unsafeGetAttrPos "mkOption" lib).file + "/services/lib.nix") { inherit lib; }
