# Evaluates a configuration with home-manager's own modules and stand-ins for packages; builds
# nothing.
{
  libPath,
  homeManager, # a checkout
  module ? ../../modules/home-manager/sops.nix,
  transparent ? false, # store paths of texts are the texts
}:

let
  lib = import (homeManager + "/modules/lib/stdlib-extended.nix") (import libPath);

  packages = isLinux: import ./stand-ins/pkgs.nix { inherit lib isLinux transparent; };

  read = file: builtins.fromJSON (builtins.unsafeDiscardStringContext file.text);

  evaluate =
    {
      config ? { },
      isLinux ? true,
    }:
    let
      pkgs = packages isLinux;
      result = lib.evalModules {
        class = "homeManager";
        specialArgs.modulesPath = toString (homeManager + "/modules");
        modules = [
          module
          config
          {
            home = {
              username = lib.mkDefault "alice";
              homeDirectory = lib.mkDefault (if isLinux then "/home/alice" else "/Users/alice");
              stateVersion = lib.mkDefault "26.05";
            };
            manual.manpages.enable = false; # its builder wants much of nixpkgs
          }
        ]
        ++ import (homeManager + "/modules/modules.nix") {
          inherit lib pkgs;
          check = true;
          useNixpkgsModule = false;
        };
      };
    in
    {
      inherit (result) config options;
      # What the user is told.
      faults = map (a: a.message) (builtins.filter (a: !a.assertion) result.config.assertions);
      inherit (result.config) warnings;
      manifest = read result.config.sops.manifest.file;
      unit = result.config.systemd.user.services.sops-nix or null;
      order = map (e: e.name) (lib.hm.dag.topoSort result.config.home.activation).result;
    };
in
{
  inherit lib evaluate;
  pkgs = packages true;
}
