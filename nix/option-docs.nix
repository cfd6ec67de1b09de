# The options reference, in Markdown. Building it is a check that every option has a description
# that can be rendered.
{
  lib,
  nixosOptionsDoc,
  pkgs,
}:

let
  # The module is documented on its own; what it reads of NixOS is not evaluated for descriptions.
  evaluated = lib.evalModules {
    class = "nixos";
    modules = [
      ../nixos
      {
        _module.args = { inherit pkgs; };
        _module.check = false;
      }
    ];
  };
in
(nixosOptionsDoc {
  options = { inherit (evaluated.options) sops; };
  # Declarations would be paths of the store.
  transformOptions = option: removeAttrs option [ "declarations" ] // { declarations = [ ]; };
}).optionsCommonMark
