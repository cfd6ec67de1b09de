# What the files of the modules share, this one and home-manager's; none of it depends on a
# configuration.
{ lib }:

rec {
  paths = import ./paths.nix { inherit lib; };
  formats = import ./formats.nix;
  environment = import ./environment.nix { inherit lib; };
  placeholders = import ./placeholders.nix { inherit lib; };
  template-text = import ./template-text.nix { inherit lib placeholders; };
  checks = import ./checks.nix { inherit lib environment paths; };
}
