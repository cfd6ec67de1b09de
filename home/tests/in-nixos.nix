# A user's configuration inside a system's, with home-manager's own NixOS module.
{
  libPath,
  homeManager, # a checkout
}:

let
  nixos = import ../../nixos/tests/eval/evaluate.nix { lib = import libPath; };
  inherit
    (import ./evaluate.nix {
      inherit libPath homeManager;
      transparent = true;
    })
    pkgs
    ;

  # What home-manager reads and sets of NixOS, besides what the stand-ins have.
  more =
    { lib, pkgs, ... }:
    let
      any = default: lib.mkOption { inherit default; };
      within =
        options: lib.mkOption { type = lib.types.attrsOf (lib.types.submodule { inherit options; }); };
    in
    {
      options = {
        environment.pathsToLink = any [ ];
        nix.enable = any true;
        nix.package = any pkgs.nix;
        system.userActivationScripts = any { };
        systemd.services = within { stopIfChanged = any true; };
        systemd.user.services = any { };
        users.users = within {
          home = any "/var/empty";
          packages = any [ ];
        };
      };
      config._module.args.utils.escapeSystemdPath = lib.replaceStrings [ "/" ] [ "-" ];
    };
in
config:
nixos.evaluate {
  config =
    { lib, ... }:
    {
      imports = [
        (homeManager + "/nixos")
        more
        config
      ];
      _module.args.pkgs = lib.mkForce pkgs;
      home-manager = {
        useGlobalPkgs = true;
        sharedModules = [
          ../../modules/home-manager/sops.nix
          {
            manual.manpages.enable = false; # its builder wants much of nixpkgs
            home.stateVersion = "26.05";
          }
        ];
      };
    };
}
