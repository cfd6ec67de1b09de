# The options of NixOS that secrets have to do with, with their types and defaults, and what NixOS's
# own modules do around initrd secrets. A stand-in: where it and NixOS differ, NixOS is right. An
# option that is missing here cannot be set by mistake: there is no freeform type.
{
  config,
  lib,
  pkgs,
  machine,
  ...
}:

let
  inherit (lib) mkIf mkOption types;

  option = type: default: mkOption { inherit type default; };
  flag = option types.bool;
  strings = option (types.listOf types.str) [ ];
  lines = option types.lines "";
  anything = option types.anything;
  attributes = option (types.attrsOf types.anything) { };
  set = modules: option (types.attrsOf (types.submodule modules)) { };

  # nixos/lib/systemd-unit-options.nix
  dependencies = lib.genAttrs [
    "after"
    "before"
    "wants"
    "requires"
    "wantedBy"
    "requiredBy"
    "conflicts"
  ] (_: strings);
  target.options = dependencies // {
    description = option types.str "";
    unitConfig = attributes;
  };
  service.options = target.options // {
    aliases = strings;
    environment = option (types.attrsOf (
      types.nullOr (
        types.oneOf [
          types.str
          types.path
          types.package
        ]
      )
    )) { };
    path = option (types.listOf (types.either types.package types.str)) [ ];
    script = lines;
    preStart = lines;
    postStart = lines;
    restartTriggers = option (types.listOf types.unspecified) [ ];
    reloadIfChanged = flag false;
    startAt = option (types.either types.str (types.listOf types.str)) [ ];
    serviceConfig = attributes;
  };

  # nixos/modules/system/activation/activation-script.nix
  snippet = types.coercedTo types.str lib.noDepEntry (
    types.submodule {
      options = {
        text = lines;
        deps = strings;
        supportsDryActivation = flag false;
      };
    }
  );

  initrd = config.boot.initrd;
  ssh = initrd.network.ssh;
  # initrd-ssh.nix: a key that is a Nix path is a derivation, and its place in the initrd is named
  # after it.
  keyPath =
    key:
    if builtins.isString key then
      key
    else
      "/etc/ssh/${builtins.unsafeDiscardStringContext (baseNameOf "${key}")}";
in
{
  options = {
    assertions = option (types.listOf types.unspecified) [ ];
    warnings = option (types.listOf types.str) [ ];

    boot = {
      isContainer = flag false;
      initrd = {
        enable = flag (!config.boot.isContainer);
        # stage-1.nix
        secrets = option (types.attrsOf (types.nullOr types.path)) { };
        extraFiles = set { options.source = option types.package null; };
        preDeviceCommands = lines;
        luks.devices = set {
          options.keyFile = option (types.nullOr types.str) null;
          options.device = option types.str "/dev/disk/by-label/root";
        };
        clevis = {
          enable = flag false;
          devices = set { options.secretFile = mkOption { type = types.path; }; };
        };
        network = {
          enable = flag false;
          ssh = {
            enable = flag false;
            port = option types.port 22;
            authorizedKeys = option (types.listOf types.str) config.users.users.root.openssh.authorizedKeys.keys;
            hostKeys = mkOption {
              type = types.listOf (types.either types.str types.path);
              default = [ ];
              apply = map (key: if builtins.isPath key then pkgs.writeText (baseNameOf key) "key" else key);
            };
          };
        };
        systemd = {
          enable = flag machine.systemdStage1;
          package = option types.unspecified { version = machine.systemdVersion; };
          services = set service;
          extraBin = option (types.attrsOf types.path) { };
          contents = set {
            options.text = option (types.nullOr types.lines) null;
            options.source = option (types.nullOr types.path) null;
          };
          users = set { options.uid = option types.int 0; };
          groups = set { options.gid = option types.int 0; };
          network.netdevs = attributes;
        };
      };
      loader = {
        supportsInitrdSecrets = flag false;
        efi = {
          efiSysMountPoint = option types.str "/boot";
          canTouchEfiVariables = flag false;
        };
        external.enable = flag (machine.loader == "external");
        initScript.enable = flag (machine.loader == "init-script");
        # NixOS has removed it (rename.nix), which its value says by throwing.
        raspberryPi =
          if machine.loader == "raspberryPi" then
            {
              enable = flag true;
              uboot.enable = flag false;
            }
          else
            mkOption {
              visible = false;
              apply = _: throw "The raspberryPi boot loader has been removed.";
            };
        generic-extlinux-compatible = {
          enable = flag (machine.loader == "extlinux");
          mirroredBoots = option (types.listOf (types.attrsOf types.str)) [ { path = "/boot"; } ];
        };
        grub = {
          enable = flag (machine.loader == "grub");
          mirroredBoots = option (types.listOf (types.submodule {
            options.path = mkOption { type = types.str; };
          })) [ ];
        };
        limine = {
          enable = flag (machine.loader == "limine");
          efiSupport = flag true;
        };
        refind.enable = flag (machine.loader == "refind");
        systemd-boot = {
          enable = flag (machine.loader == "systemd-boot");
          xbootldrMountPoint = option (types.nullOr types.str) null;
        }
        // lib.optionalAttrs machine.newBuilder {
          bootCounting.enable = flag false;
        };
      }
      # nvmd/nixos-raspberrypi
      // lib.optionalAttrs (machine.loader == "raspberry-pi") {
        raspberry-pi = {
          enable = flag true;
          bootloader = option types.str "kernel";
          firmwarePath = option types.str "/boot/firmware";
          bootPath = option types.str "/boot";
        };
      };
    };

    environment.systemPackages = option (types.listOf types.package) [ ];
    fileSystems = set {
      options = {
        device = option (types.nullOr types.str) null;
        fsType = option types.str "auto";
        options = option (types.listOf types.str) [ "defaults" ];
        neededForBoot = flag false;
      };
    };
    # nix-community/disko
    disko.devices.zpool = attributes;
    networking.hostName = option types.str "machine";

    services = {
      openssh = {
        enable = flag machine.sshd;
        hostKeys = option (types.listOf (types.attrsOf types.anything)) [
          {
            type = "rsa";
            bits = 4096;
            path = "/etc/ssh/ssh_host_rsa_key";
          }
          {
            type = "ed25519";
            path = "/etc/ssh/ssh_host_ed25519_key";
          }
        ];
      };
      userborn.enable = flag (machine.users == "userborn");
    };

    specialisation = set { options.configuration = anything { }; };

    system = {
      # build.nix: one plain definition for each attribute
      build = mkOption {
        default = { };
        type = types.submodule {
          freeformType = types.lazyAttrsOf (types.uniq types.unspecified);
          # switchable-system.nix
          options.installBootLoader = option (types.unique { message = "Only one boot loader."; } (
            types.either types.str types.package
          )) "echo 'Warning: do not know how to make this configuration bootable'";
        };
      };
      activationScripts = option (types.attrsOf snippet) { };
      dryActivationScript = lines;
      boot.loader.initrdFile = option types.str "initrd";
      nixos.release = option types.str machine.release;
      stateVersion = option types.str machine.release;
      switch.enable = flag true;
      etc.overlay.enable = flag false;
    };

    systemd = {
      services = set service;
      targets = set target;
      sysusers.enable = flag (machine.users == "sysusers");
      tmpfiles.rules = strings;
    };

    users = {
      mutableUsers = flag true;
      users = set (
        { name, ... }:
        {
          options = {
            name = option types.str name;
            uid = option (types.nullOr types.int) null;
            group = option types.str "";
            isNormalUser = flag false;
            isSystemUser = flag false;
            hashedPasswordFile = option (types.nullOr types.str) null;
            openssh.authorizedKeys.keys = strings;
          };
        }
      );
      groups = set { options.gid = option (types.nullOr types.int) null; };
    };
  };

  config = {
    # nixos/modules/system/boot/loader: who runs the hook
    boot.loader.supportsInitrdSecrets = mkIf (
      config.boot.loader.systemd-boot.enable
      || config.boot.loader.grub.enable
      || config.boot.loader.limine.enable
    ) true;
    boot.loader.grub.mirroredBoots = mkIf (machine.loader == "grub") [ { path = "/boot"; } ];

    users.users.root = {
      uid = 0;
      group = "root";
    };
    users.groups = {
      root.gid = 0;
      keys.gid = 96;
    };

    system.activationScripts = {
      specialfs = "# special file systems";
      users = mkIf (machine.users == "scripts") "# users";
      groups = "# groups";
    };

    assertions = mkIf initrd.enable [
      {
        assertion =
          config.boot.loader.supportsInitrdSecrets
          || builtins.all (
            source: builtins.isPath source || builtins.isString source && lib.hasPrefix builtins.storeDir source
          ) (builtins.attrValues initrd.secrets);
        message = "boot.initrd.secrets values must be unquoted paths";
      }
    ];

    boot.initrd.secrets = mkIf (initrd.network.enable && ssh.enable) (
      lib.listToAttrs (map (key: lib.nameValuePair (keyPath key) key) ssh.hostKeys)
    );

    # initrd-secrets.nix
    boot.initrd.systemd = mkIf (initrd.enable && initrd.systemd.enable) {
      services.initrd-nixos-copy-secrets = mkIf (initrd.secrets != { }) {
        description = "Copy secrets into place";
        wantedBy = [ "sysinit.target" ];
        before = [
          "cryptsetup-pre.target"
          "shutdown.target"
        ];
        conflicts = [ "shutdown.target" ];
        unitConfig.DefaultDependencies = false;
        script = ''
          cd /.initrd-secrets
          for file in $(find . -type f -o -type l); do
            mkdir -p "/$(dirname "$file")"
            cp "$file" "/$file"
          done
        '';
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
        };
      };
      extraBin.find = "${pkgs.coreutils}/bin/find";
    };

    system.build = mkIf initrd.enable {
      initialRamdisk = pkgs.writeText "initrd" "";
      initialRamdiskSecretAppender = pkgs.writeTextFile {
        name = "append-initrd-secrets";
        destination = "/bin/append-initrd-secrets";
        text = "the stock hook";
      };
      # the module of each loader
      installBootLoader = mkIf (machine.loader != "none") "/run/installers/${machine.loader} -t 5 -c";
      # bootspec.nix, kernel.nix: the loader is told of the hook only while there is something to
      # append
      initrdSecrets =
        if initrd.secrets == { } then
          null
        else
          "${config.system.build.initialRamdiskSecretAppender}/bin/append-initrd-secrets";
    };
  };
}
