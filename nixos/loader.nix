# Boot loaders whose installers know nothing of initrd secrets, and limine, whose installer goes on
# when they could not be made: their installer is run by sops-initrd, which gives every generation
# its secrets afterwards, and fails when the default lacks them.
{
  config,
  lib,
  options,
  pkgs,
  ...
}:

let
  inherit (lib)
    literalMD
    mkIf
    mkOption
    types
    ;

  cfg = config.sops;
  loader = config.boot.loader;

  # The loader's own installer, as its module defines it: the value of the option would be the
  # wrapper.
  installer =
    let
      others = builtins.filter (
        d: toString d.file != toString ./loader.nix && d.value ? installBootLoader
      ) options.system.build.definitionsWithLocations;
    in
    (lib.mergeDefinitions [ "system" "build" "installBootLoader" ] types.unspecified (
      map (d: {
        inherit (d) file;
        value = d.value.installBootLoader;
      }) others
    )).mergedValue;

  # A Raspberry Pi: nixos-raspberrypi, or NixOS itself until 24.05. Where an option was removed, it
  # must not be looked at.
  raspberryPi =
    let
      enabled = name: options.boot.loader ? ${name}.enable && loader.${name}.enable;
    in
    if enabled "raspberry-pi" then
      loader.raspberry-pi
    else if enabled "raspberryPi" then
      loader.raspberryPi
    else
      null;
  raspberryPiUBoot =
    if raspberryPi ? bootloader then
      raspberryPi.bootloader == "uboot"
    else
      raspberryPi.uboot.enable or false;

  # What is known of the loaders of NixOS: how their menus are written, and where.
  known =
    if raspberryPi != null && raspberryPiUBoot then
      {
        kind = "extlinux";
        boots = [ (raspberryPi.bootPath or "/boot") ];
      }
    else if raspberryPi != null then
      {
        kind = "raspberrypi";
        boots = [ (raspberryPi.firmwarePath or "/boot") ];
      }
    else if loader.generic-extlinux-compatible.enable or false then
      {
        kind = "extlinux";
        boots = map (mirror: mirror.path) (loader.generic-extlinux-compatible.mirroredBoots or [ { path = "/boot"; } ]);
      }
    else if loader.limine.enable or false then
      {
        kind = "limine";
        boots = [ (if loader.limine.efiSupport or true then loader.efi.efiSysMountPoint else "/boot") ];
      }
    else if loader.refind.enable or false then
      {
        kind = "refind";
        boots = [ loader.efi.efiSysMountPoint ];
      }
    else
      {
        kind = null;
        boots =
          if loader.grub.enable or false then
            map (mirror: mirror.path) (loader.grub.mirroredBoots or [ { path = "/boot"; } ])
          else if (loader.systemd-boot.xbootldrMountPoint or null) != null then
            [ loader.systemd-boot.xbootldrMountPoint ]
          else
            [ (loader.efi.efiSysMountPoint or "/boot") ];
      };

  # How entries are written: the forms that sops-initrd install-loader reads (internal/bootloader).
  forms = {
    efi-boot-stub =
      "boot entries of the firmware that start the kernel directly, "
      + "{file}`efi/nixos/generation-*-startup.nsh`";
    extlinux = "{file}`extlinux/extlinux.conf`";
    limine = "{file}`limine/limine.conf`";
    listed = ''
      anything else. The program lists what it installed in {file}`sops-initrd.json` in the boot directory:
        `{"version": 1, "entries": [{"title": "…", "system": "/nix/store/…", "image": "path"}]}`. Each image
        is a copy of that system's initrd, below the boot directory and shared with no other system. The
        secrets are put into it'';
    raspberrypi = "what a Raspberry Pi's firmware loads";
    refind = "{file}`efi/refind/refind.conf`";
    systemd-boot = "{file}`loader/entries/*.conf` of the Boot Loader Specification";
  };

  # What is needed in the initrd comes last: with the loaders that need no wrapper, configurations
  # may decide by boot.loader.supportsInitrdSecrets what to put there.
  wrapped = cfg.initrd.loader != null && cfg.initrd.wrapLoader && cfg.initrd.active;

  # It is called with the system to boot by default as the last argument, which NixOS adds.
  wrapper = pkgs.writeTextFile {
    name = "install-boot-loader";
    executable = true;
    text = ''
      #!${pkgs.runtimeShell}
      set -eu
      exec ${
        lib.concatStringsSep " " (
          [ "${cfg.initrd.package}/bin/sops-initrd install-loader --loader ${cfg.initrd.loader}" ]
          ++ map (boot: "--boot ${lib.escapeShellArg boot}") cfg.initrd.bootDirectories
          ++ [ "--state ${lib.escapeShellArg cfg.initrd.stateDirectory}" ]
          ++ lib.optional (cfg.initrd.whenNoKey != "fail") "--when-no-key ${cfg.initrd.whenNoKey}"
        )
      } -- ${installer} "$@"
    '';
    checkPhase = ''
      ${pkgs.stdenv.shellDryRun} "$target"
    '';
  };
in
{
  options.sops.initrd = {
    wrapLoader = mkOption {
      type = types.bool;
      default = cfg.initrd.loader != null;
      defaultText = literalMD "whether {option}`sops.initrd.loader` is set";
      description = ''
        Whether the installer of the boot loader is run by {command}`sops-initrd install-loader`.
        That gives secrets to boot loaders whose installers know nothing of them
        (generic-extlinux-compatible, rEFInd, Raspberry Pis: every generation with secrets gets an
        initrd of its own on the boot partition), and lets a switch fail that would leave the
        default entry without its secrets (limine).

        {option}`boot.loader.supportsInitrdSecrets` is then true because there are secrets for the
        initrd. With these boot loaders (limine apart) it cannot be used to decide whether there
        are: that is an infinite recursion.
      '';
    };

    loader = mkOption {
      type = types.nullOr (types.enum (builtins.attrNames forms));
      default = known.kind;
      defaultText = literalMD "that of generic-extlinux-compatible, limine, rEFInd and Raspberry Pis, else `null`";
      example = "listed";
      description = ''
        How the entries are written that the boot loader's installer leaves, for those whose
        installer does not install initrd secrets. With {option}`boot.loader.external` it has to be
        said (unless the program installs initrd secrets, as lanzaboote does):

        ${lib.concatStringsSep "\n" (
          lib.mapAttrsToList (name: words: "- `${name}`: ${words}") forms
        )}
      '';
    };

    bootDirectories = mkOption {
      type = types.nonEmptyListOf types.str;
      default = known.boots;
      defaultText = literalMD "where the boot loader has its entries";
      description = ''
        Where the entries of the boot loader are, for {option}`sops.initrd.wrapLoader` and
        {option}`sops.initrd.monitor`. All are seen to.
      '';
    };

    whenNoKey = mkOption {
      type = types.enum [
        "fail"
        "skip"
      ];
      default = "fail";
      description = ''
        What to do on a machine that has no key at all yet, such as one that is just being
        installed: fail, or install the boot loader without the initrd secrets, with a warning. The
        next switch puts them in; {command}`sops-initrd status` shows what is without them. A
        machine that has keys, none of which fits, always fails.

        Under lanzaboote a generation that was installed without its secrets stays so until its stub
        is removed.
      '';
    };
  };

  config = {
    system.build.installBootLoader = mkIf wrapped (lib.mkForce wrapper);
    # True now, and asked by NixOS, which would else put the files into the store. limine says so
    # itself.
    boot.loader.supportsInitrdSecrets = mkIf (cfg.initrd.loader != "limine" && wrapped) true;
  };
}
