# A host with many secrets, evaluated as far as a switch needs it: ./run counts what that costs Nix.
{
  libPath,
  module ? ../../../modules/sops,
  count ? 200,
  inInitrd ? false,
}:

let
  lib = import libPath;
  inherit (import ./evaluate.nix { inherit lib module; }) evaluate pkgs;

  secrets = lib.genAttrs (lib.genList (i: "secret-${toString i}") count) (
    _: lib.optionalAttrs inInitrd { neededForInitrd = true; }
  );
  r = evaluate {
    config = {
      sops.defaultSopsFile = ../assets/secrets.yaml;
      sops.secrets = secrets;
      sops.package = pkgs.age; # the packages of the two projects are not compared
    };
  };
  inherit (r.config.system) build;
in
builtins.deepSeq [
  r.faults
  r.warnings
  build.sops-nix-manifest.text
  build.initialRamdiskSecretAppender.text
  (lib.optionalString inInitrd build.sops-initrd-manifest.text)
  r.config.system.activationScripts
  r.config.systemd
  r.config.boot.initrd
] count
