# Evaluates a configuration with this module and the stand-ins for NixOS; builds nothing.
{
  lib,
  module ? ../../../modules/sops,
}:

let
  pkgs = import ./stand-ins/pkgs.nix { inherit lib; };

  read = file: builtins.fromJSON (builtins.unsafeDiscardStringContext file.text);

  evaluate =
    {
      config ? { },
      # grub and limine run the hook, too; refind, extlinux, raspberry-pi, raspberryPi, external,
      # init-script and none do not.
      loader ? "systemd-boot",
      systemdStage1 ? true,
      users ? "scripts", # or sysusers, userborn: what makes users
      release ? "26.05",
      newBuilder ? release == "26.11", # of systemd-boot
      systemdVersion ? "258.2", # of stage 1
      sshd ? true, # NixOS has it off by default; here nearly every host is one with SSH host keys
    }:
    let
      result = lib.evalModules {
        class = "nixos";
        specialArgs.machine = {
          inherit
            loader
            systemdStage1
            users
            release
            newBuilder
            systemdVersion
            sshd
            ;
        };
        modules = [
          ./stand-ins/nixos.nix
          module
          { _module.args.pkgs = lib.mkDefault pkgs; }
          config
        ];
      };
    in
    {
      inherit (result) config options;
      # What the user is told.
      faults = map (a: a.message) (builtins.filter (a: !a.assertion) result.config.assertions);
      inherit (result.config) warnings;
      # What the programs are told.
      manifest = read result.config.system.build.sops-nix-manifest;
      usersManifest = read result.config.system.build.sops-nix-users-manifest;
      initrdManifest = read result.config.system.build.sops-initrd-manifest;
      hook = result.config.system.build.initialRamdiskSecretAppender.text;
    };
in
{
  inherit pkgs evaluate;
}
