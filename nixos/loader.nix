# Boot loaders whose installers know nothing of initrd secrets, and limine, whose installer goes on when they could not be made: their
# installer is run by sops-initrd, which gives every generation its secrets afterwards, and fails when the default lacks them.
{
  config,
  lib,
  options,
  pkgs,
  ...
}:

let
  inherit (lib) mkIf mkOption types;

  cfg = config.sops;
  loader = config.boot.loader;

  # The loader's own installer, as its module defines it: the value of the option would be the wrapper.
  installer =
    let
      others = builtins.filter (
        d: toString d.file != toString ./loader.nix && d.value ? installBootLoader
      ) options.system.build.definitionsWithLocations;
    in
    (lib.evalModules {
      modules = [
        { options.installer = mkOption { type = types.unspecified; }; }
      ]
      ++ map (d: {
        _file = d.file;
        config.installer = d.value.installBootLoader;
      }) others;
    }).config.installer;

  kinds = lib.filterAttrs (_: kind: kind.enable) {
    extlinux = {
      enable = loader.generic-extlinux-compatible.enable or false;
      boot = (lib.head ((loader.generic-extlinux-compatible.mirroredBoots or [ ]) ++ [ { path = "/boot"; } ])).path;
    };
    limine = {
      enable = loader.limine.enable or false;
      boot = if loader.limine.efiSupport or true then loader.efi.efiSysMountPoint else "/boot";
    };
    refind = {
      enable = loader.refind.enable or false;
      boot = loader.efi.efiSysMountPoint;
    };
  };
  kind = lib.head (builtins.attrNames kinds);

  wrapped = cfg.initrd.active && cfg.initrd.wrapLoader && kinds != { };

  # It is called with the system to boot by default as the last argument, which NixOS adds.
  wrapper = pkgs.writeTextFile {
    name = "install-boot-loader";
    executable = true;
    text = ''
      #!${pkgs.runtimeShell}
      set -eu
      exec ${cfg.initrd.package}/bin/sops-initrd install-loader --loader ${kind} --boot ${lib.escapeShellArg kinds.${kind}.boot} --state ${lib.escapeShellArg cfg.initrd.stateDirectory} -- ${installer} "$@"
    '';
    checkPhase = ''
      ${pkgs.stdenv.shellDryRun} "$target"
    '';
  };
in
{
  options.sops.initrd.wrapLoader = mkOption {
    type = types.bool;
    default = kinds != { };
    defaultText = lib.literalMD "whether generic-extlinux-compatible, limine or rEFInd is the boot loader";
    description = ''
      Whether the installer of the boot loader is run by {command}`sops-initrd install-loader`. That gives secrets to boot loaders
      whose installers know nothing of them (generic-extlinux-compatible and rEFInd: every generation with secrets gets an
      initrd of its own on the boot partition), and lets a switch fail that would leave the default entry without its secrets
      (limine).
    '';
  };

  config = mkIf wrapped {
    system.build.installBootLoader = lib.mkForce wrapper;
    # True now, and asked by NixOS, which would else put the files into the store.
    boot.loader.supportsInitrdSecrets = true;
  };
}
