# The examples of the documentation for deployment tools: what each makes of them is a host whose
# initrd gets its secrets when the boot loader is installed there.
{
  lib,
  evaluate,
  pkgs,
  ...
}:

let
  repository = ../../../..;
  tools = import ../stand-ins/deploy.nix {
    inherit
      lib
      pkgs
      evaluate
      repository
      ;
  };
  examples = repository + "/docs/examples/deploy";
  file = {
    colmena = examples + "/colmena/flake.nix";
    deploy-rs = examples + "/deploy-rs/flake.nix";
    morph = examples + "/morph.nix";
    nixops = examples + "/nixops.nix";
    nixus = examples + "/nixus.nix";
    krops = examples + "/krops.nix";
  };
in
lib.mapAttrs (tool: read: {
  expr = lib.mapAttrs (_: host: {
    inherit (host) faults warnings;
    inherit (host.config.deployment) targetHost;
    entries = map (e: e.path) host.config.sops.initrd.entries;
    hook = lib.hasInfix "sops-initrd append" host.hook;
  }) (read file.${tool});
  expected.server01 = {
    faults = [ ];
    warnings = [ ];
    targetHost = lib.optionalString (tool == "nixus") "root@" + "server01.example.org";
    entries = [ "/run/secrets/initrd-ssh-key" ];
    hook = true;
  };
}) tools
