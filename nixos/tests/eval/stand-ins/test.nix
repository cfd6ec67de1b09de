# The options of a NixOS test, as far as tests here use them.
{ lib, ... }:

let
  inherit (lib) mkOption types;
in
{
  options = {
    name = mkOption { type = types.str; };
    defaults = mkOption {
      type = types.deferredModule;
      default = { };
    };
    nodes = mkOption { type = types.attrsOf types.deferredModule; };
    testScript = mkOption { type = types.either types.str (types.functionTo types.str); };
  };
}
