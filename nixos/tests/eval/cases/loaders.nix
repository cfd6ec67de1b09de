# Boot loaders: who runs the hook, with what, and what is said to those that do not.
{
  lib,
  evaluate,
  assets,
  ...
}:

let
  base = {
    sops.defaultSopsFile = assets + "/secrets.yaml";
    sops.secrets.luks.neededForInitrd = true;
    sops.secrets.luks.initrd.path = "/etc/luks.key";
  };
  with' =
    machine: config:
    evaluate (
      machine
      // {
        config.imports = [
          base
          config
        ];
      }
    );
  stages =
    f:
    map f [
      true
      false
    ];
in
lib.listToAttrs (
  map
    (loader: {
      name = "${loader}: the hook installs secrets, with both stages 1";
      value = {
        expr = stages (
          systemdStage1:
          let
            r = with' { inherit loader systemdStage1; } { };
          in
          {
            inherit (r) faults warnings;
            hook = lib.hasInfix "/bin/sops-initrd append " r.hook;
            told = r.config.system.build.initrdSecrets != null;
            entries = map (e: e.path) r.initrdManifest.entries;
            installed = lib.hasInfix "--enclose --installed /boot/limine/kernels" r.hook;
            placed =
              lib.hasInfix "sops_place /etc/luks.key" (
                if systemdStage1 then
                  r.config.boot.initrd.systemd.services.initrd-nixos-copy-secrets.postStart
                else
                  r.config.boot.initrd.preDeviceCommands
              );
          }
        );
        expected = stages (_: {
          faults = [ ];
          warnings = [ ];
          hook = true;
          told = true;
          entries = [ "/etc/luks.key" ];
          installed = loader == "limine";
          placed = true;
        });
      };
    })
    [
      "systemd-boot"
      "grub"
      "limine"
    ]
  ++ map
    (
      { loader, wrapper }:
      {
        name = "${loader}: its installer is run by ours, with both stages 1";
        value = {
          expr = stages (
            systemdStage1:
            let
              r = with' { inherit loader systemdStage1; } { };
            in
            {
              inherit (r) faults warnings;
              inherit (r.config.boot.loader) supportsInitrdSecrets;
              command = lib.last (lib.splitString "/bin/sops-initrd " r.config.system.build.installBootLoader.text);
              hook = lib.hasInfix "/bin/sops-initrd append " r.hook;
              told = r.config.system.build.initrdSecrets != null;
            }
          );
          expected = stages (_: {
            faults = [ ];
            warnings = [ ];
            supportsInitrdSecrets = true;
            command = "install-loader ${wrapper} --state /var/lib/sops-initrd -- /run/installers/${loader} -t 5 -c \"$@\"\n";
            hook = true;
            told = true;
          });
        };
      }
    )
    [
      {
        loader = "extlinux";
        wrapper = "--loader extlinux --boot /boot";
      }
      {
        loader = "refind";
        wrapper = "--loader refind --boot /boot";
      }
      {
        loader = "limine";
        wrapper = "--loader limine --boot /boot";
      }
      {
        loader = "raspberry-pi";
        wrapper = "--loader raspberrypi --boot /boot/firmware";
      }
      {
        loader = "raspberryPi";
        wrapper = "--loader raspberrypi --boot /boot";
      }
    ]
  ++ map
    (
      { loader, told }:
      {
        name = "${loader}: does not run the hook, and we say what to do";
        value = {
          expr = stages (
            systemdStage1:
            let
              r = with' { inherit loader systemdStage1; } { };
            in
            {
              # NixOS's own, and ours
              faults = builtins.length r.faults;
              ours = builtins.filter (lib.hasInfix "/etc/luks.key") r.faults;
            }
          );
          expected = stages (_: {
            faults = 2;
            ours = [
              ''
                These secrets are needed in the initrd, but the boot loader does not install any there
                (boot.loader.supportsInitrdSecrets is false):
                - /etc/luks.key
                ${told}
                In a variant that can do without them, such as virtualisation.vmVariant, set sops.initrd.enable to false,
                and disable what else puts files there, such as boot.initrd.network.ssh.''
            ];
          });
        };
      }
    )
    [
      {
        loader = "external";
        told = "If the program in boot.loader.external.installHook runs append-initrd-secrets itself, set boot.loader.supportsInitrdSecrets to true; otherwise say with sops.initrd.loader how it writes its entries (\"listed\" where nothing else fits).";
      }
      {
        loader = "init-script";
        told = "boot.loader.initScript starts the system without an initrd, so there is nothing that they could be put into. Unlock what they are for from outside, or use a boot loader that loads an initrd.";
      }
      {
        loader = "none";
        told = "Use systemd-boot, GRUB, limine, lanzaboote, generic-extlinux-compatible, rEFInd or a Raspberry Pi's firmware.";
      }
    ]
)
// {
  "without secrets for the initrd, every loader will do" = {
    expr = map (
      loader:
      (evaluate {
        inherit loader;
        config.sops.defaultSopsFile = assets + "/secrets.yaml";
        config.sops.secrets.luks = { };
      }).faults
    ) [ "refind" "extlinux" "raspberry-pi" "external" "init-script" "none" ];
    expected = [ [ ] [ ] [ ] [ ] [ ] [ ] ];
  };

  "every way to make users goes with every loader that installs secrets" = {
    expr = lib.concatMap (
      users:
      map (loader: (with' { inherit loader users; } { sops.initrd.loader = lib.mkIf (loader == "external") "listed"; }).faults) [
        "systemd-boot"
        "grub"
        "limine"
        "refind"
        "extlinux"
        "raspberry-pi"
        "external"
      ]
    ) [ "scripts" "sysusers" "userborn" ];
    expected = lib.genList (_: [ ]) 21;
  };

  "external: a program of one's own whose entries have a known form, or are listed" = {
    expr = map (
      kind:
      let
        r = with' { loader = "external"; } {
          sops.initrd.loader = kind;
          sops.initrd.bootDirectories = [ "/efi" ];
        };
      in
      {
        inherit (r) faults;
        inherit (r.config.boot.loader) supportsInitrdSecrets;
        command = lib.last (lib.splitString "/bin/sops-initrd " r.config.system.build.installBootLoader.text);
      }
    ) [ "systemd-boot" "listed" ];
    expected =
      map
        (kind: {
          faults = [ ];
          supportsInitrdSecrets = true;
          command = "install-loader --loader ${kind} --boot /efi --state /var/lib/sops-initrd -- /run/installers/external -t 5 -c \"$@\"\n";
        })
        [
          "systemd-boot"
          "listed"
        ];
  };

  "a Raspberry Pi with U-Boot has the menu of extlinux" = {
    expr =
      map
        (
          { loader, settings }:
          let
            c = (with' { inherit loader; } { boot.loader = settings; }).config.sops.initrd;
          in
          {
            inherit (c) loader bootDirectories;
          }
        )
        [
          {
            loader = "raspberry-pi";
            settings.raspberry-pi = {
              bootloader = "uboot";
              bootPath = "/other";
            };
          }
          {
            loader = "raspberryPi";
            settings.raspberryPi.uboot.enable = true;
          }
        ];
    expected = [
      {
        loader = "extlinux";
        bootDirectories = [ "/other" ];
      }
      {
        loader = "extlinux";
        bootDirectories = [ "/boot" ];
      }
    ];
  };

  "all mirrored boot directories of extlinux are seen to" = {
    expr = lib.hasInfix "--loader extlinux --boot /boot1 --boot '/boot 2' --state" (with' { loader = "extlinux"; } {
      boot.loader.generic-extlinux-compatible.mirroredBoots = [
        { path = "/boot1"; }
        { path = "/boot 2"; }
      ];
    }).config.system.build.installBootLoader.text;
    expected = true;
  };

  "a machine that has no key yet fails, or is installed without" = {
    expr =
      map
        (
          sops:
          let
            r = with' { loader = "extlinux"; } { inherit sops; };
          in
          map (lib.hasInfix " --when-no-key skip ") [
            r.hook
            r.config.system.build.installBootLoader.text
          ]
        )
        [
          { }
          { initrd.whenNoKey = "skip"; }
        ];
    expected = [
      [ false false ]
      [ true true ]
    ];
  };

  "how long keys are waited for is in the manifest of the initrd, too" = {
    expr = map (sops: (with' { } { inherit sops; }).initrdManifest.keyTimeout or null) [
      { }
      { keyTimeout = 5; }
    ];
    expected = [
      null
      5
    ];
  };

  "loaders that run the hook themselves keep their installers" = {
    expr = map (loader: (with' { inherit loader; } { }).config.system.build.installBootLoader) [
      "systemd-boot"
      "grub"
    ];
    expected = [
      "/run/installers/systemd-boot -t 5 -c"
      "/run/installers/grub -t 5 -c"
    ];
  };

  "without secrets for the initrd, installers and what they support are not touched" = {
    expr =
      let
        r = evaluate { loader = "extlinux"; };
      in
      {
        installer = r.config.system.build.installBootLoader;
        inherit (r.config.boot.loader) supportsInitrdSecrets;
      };
    expected = {
      installer = "/run/installers/extlinux -t 5 -c";
      supportsInitrdSecrets = false;
    };
  };

  "an installer that must not be wrapped is not, and we say what that means" = {
    expr =
      let
        r = with' { loader = "extlinux"; } { sops.initrd.wrapLoader = false; };
      in
      {
        installer = r.config.system.build.installBootLoader;
        faults = builtins.length r.faults;
      };
    expected = {
      installer = "/run/installers/extlinux -t 5 -c";
      # NixOS's own, and ours
      faults = 2;
    };
  };

  "the boot partition of rEFInd and of extlinux is where NixOS has it" = {
    expr =
      map
        (
          { loader, settings }:
          lib.hasInfix "--boot /other " (with' { inherit loader; } {
            boot.loader = settings;
          }).config.system.build.installBootLoader.text
        )
        [
          {
            loader = "refind";
            settings.efi.efiSysMountPoint = "/other";
          }
          {
            loader = "extlinux";
            settings.generic-extlinux-compatible.mirroredBoots = [ { path = "/other"; } ];
          }
        ];
    expected = [
      true
      true
    ];
  };

  "what the message for variants says is enough for the README's example" = {
    expr =
      (with' { loader = "none"; } {
        imports = [ ../../../../docs/examples/ssh-unlock.nix ];
        sops.defaultSopsFile = lib.mkForce (assets + "/secrets.yaml");
        sops.initrd.enable = false;
        boot.initrd.network.ssh.enable = lib.mkForce false;
      }).faults;
    expected = [ ];
  };

  "systemd-boot, GRUB, limine: what is in the initrd may be decided by whether it can be" = {
    expr =
      map
        (
          loader:
          let
            r = evaluate {
              inherit loader;
              config =
                { config, ... }:
                let
                  able = config.boot.loader.supportsInitrdSecrets;
                in
                {
                  sops.defaultSopsFile = assets + "/secrets.yaml";
                  sops.secrets.luks.neededForInitrd = able;
                  sops.secrets.initrd-ssh-key = { };
                  sops.initrd.enable = able;
                  boot.initrd.secrets = lib.mkIf able { "/etc/other" = "/etc/other"; };
                  boot.initrd.network.enable = true;
                  boot.initrd.network.ssh = {
                    enable = able;
                    hostKeys = [ config.sops.secrets.initrd-ssh-key.path ];
                  };
                };
            };
          in
          {
            inherit (r) faults;
            entries = map (e: e.path) r.config.sops.initrd.entries;
          }
        )
        [
          "systemd-boot"
          "grub"
          "limine"
        ];
    expected = lib.replicate 3 {
      faults = [ ];
      entries = [
        "/etc/other"
        "/run/secrets/initrd-ssh-key"
        "/run/secrets/luks"
      ];
    };
  };

  "a loader that cannot do it is fine while the initrd is switched off" = {
    expr = (with' { loader = "external"; } { sops.initrd.enable = false; }).faults;
    expected = [ ];
  };

  "lanzaboote: an external loader that runs the hook" = {
    expr =
      let
        r = with' { loader = "external"; } { boot.loader.supportsInitrdSecrets = true; };
      in
      {
        inherit (r) faults;
        hook = lib.hasInfix "/bin/sops-initrd append " r.hook;
        inherit (r.config.sops.initrd) separateImages;
      };
    expected = {
      faults = [ ];
      hook = true;
      separateImages = false;
    };
  };

  "limine on BIOS keeps its files in /boot" = {
    expr = lib.hasInfix "--installed /boot/limine/kernels" (with' { loader = "limine"; } {
      boot.loader.limine.efiSupport = false;
      boot.loader.efi.efiSysMountPoint = "/efi";
    }).hook;
    expected = true;
  };

  "a boot partition that others can read is warned about" = {
    expr =
      map
        (
          { loader ? "systemd-boot", mount ? "/boot", ... }@variant:
          (with' { inherit loader; } {
            fileSystems.${mount} = {
              fsType = variant.fsType or "vfat";
              options = variant.options or [ "defaults" ];
            };
            boot.loader = variant.settings or { };
          }).warnings
        )
        [
          { }
          { loader = "grub"; }
          { options = [ "fmask=0022" "dmask=0022" ]; }
          { options = [ "fmask=0137" ]; }
          { options = [ "fmask=0137" "gid=100" ]; }
          { options = [ "umask=0077" ]; }
          { options = [ "defaults,umask=077" ]; }
          { options = [ "fmask=0177" ]; }
          { options = [ "dmask=0077" ]; }
          { fsType = "ext4"; }
          { fsType = "msdos"; }
          { options = [ "umask=0x77" ]; }
          # GRUB's kernels and initrds are in /boot, whatever is in the ESP.
          {
            loader = "grub";
            mount = "/boot/efi";
            settings.efi.efiSysMountPoint = "/boot/efi";
          }
          {
            mount = "/efi";
            settings.efi.efiSysMountPoint = "/efi";
          }
          {
            mount = "/efi";
            settings.efi.efiSysMountPoint = "/efi";
            settings.systemd-boot.xbootldrMountPoint = "/boot";
          }
        ];
    expected =
      let
        warning = mount: [
          "Initrd secrets are installed in ${mount}, where every user of this host can read them: add \"umask=0077\" to fileSystems.\"${mount}\".options."
        ];
      in
      [
        (warning "/boot")
        (warning "/boot")
        (warning "/boot")
        [ ]
        (warning "/boot")
        [ ]
        [ ]
        [ ]
        [ ]
        [ ]
        (warning "/boot")
        [ ]
        [ ]
        (warning "/efi")
        [ ]
      ];
  };
}
