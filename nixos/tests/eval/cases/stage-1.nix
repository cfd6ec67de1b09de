# What stage 1 does with the copied files, and what keeps images of different generations apart.
{
  lib,
  evaluate,
  pkgs,
  assets,
  ...
}:

let
  base = {
    sops.defaultSopsFile = assets + "/secrets.yaml";
    sops.secrets.luks = {
      neededForInitrd = true;
      initrd.path = "/etc/luks.key";
      initrd.mode = "0440";
      initrd.uid = 152;
      initrd.gid = 153;
    };
    sops.secrets.test_key = { };
    boot.initrd.secrets."/etc/iscsi" = "/var/lib/iscsi";
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
  systemd = with' { } { };
  scripted = with' { systemdStage1 = false; } { };

  lines = text: builtins.filter (lib.hasPrefix "sops_place ") (lib.splitString "\n" text);
  digest = r: r.config.boot.initrd.systemd.contents."/etc/sops-initrd-inputs".text;
in
{
  "systemd: the copying unit sets owner and mode of ours, and of nobody else's" = {
    expr = lines systemd.config.boot.initrd.systemd.services.initrd-nixos-copy-secrets.postStart;
    expected = [ "sops_place /etc/luks.key 152:153 0440" ];
  };

  "systemd: the copying unit stays what it is, and comes before networkd" = {
    expr = {
      inherit (systemd.config.boot.initrd.systemd.services.initrd-nixos-copy-secrets)
        description
        before
        wantedBy
        after
        ;
    };
    expected = {
      description = "Copy secrets into place";
      before = [
        "cryptsetup-pre.target"
        "shutdown.target"
        "systemd-networkd.service"
      ];
      wantedBy = [ "sysinit.target" ];
      after = [ ];
    };
  };

  "systemd: damaged files are removed before they are copied" = {
    expr = builtins.filter (lib.hasInfix "rm -f") (
      lib.splitString "\n" systemd.config.boot.initrd.systemd.services.initrd-nixos-copy-secrets.preStart
    );
    expected = [ "      rm -f \"/$name\"" ];
  };

  "systemd: an image without secrets has the directory that is looked through" = {
    expr = lib.head (
      lib.splitString "\n" systemd.config.boot.initrd.systemd.services.initrd-nixos-copy-secrets.preStart
    );
    expected = "mkdir -p /.initrd-secrets";
  };

  "systemd: the tools are in the initrd" = {
    expr = systemd.config.boot.initrd.systemd.extraBin;
    expected = lib.genAttrs [
      "chmod"
      "chown"
      "find"
      "rm"
      "sha256sum"
    ] (tool: "${pkgs.coreutils}/bin/${tool}");
  };

  "scripted: right after the copying, before everything that other modules do" = {
    expr =
      let
        r = with' { systemdStage1 = false; } { boot.initrd.preDeviceCommands = lib.mkBefore "# other"; };
        all = lib.splitString "\n" r.config.boot.initrd.preDeviceCommands;
      in
      {
        first = builtins.head all;
        removes = builtins.filter (lib.hasInfix "rm -f") all;
        last = lib.last all;
        ours = lines r.config.boot.initrd.preDeviceCommands;
        same =
          let
            place = text: lib.last (lib.splitString "sops_place() {" text);
          in
          place systemd.config.boot.initrd.systemd.services.initrd-nixos-copy-secrets.postStart
          == place scripted.config.boot.initrd.preDeviceCommands;
        systemd = systemd.config.boot.initrd.preDeviceCommands;
        units = builtins.attrNames scripted.config.boot.initrd.systemd.services;
      };
    expected = {
      first = "sops_say() {";
      # what is wrong has been copied already
      removes = [ "      rm -f \"/$name\" \"/\${name#.initrd-secrets/}\"" ];
      last = "# other";
      ours = [ "sops_place /etc/luks.key 152:153 0440" ];
      same = true;
      systemd = "";
      units = [ ];
    };
  };

  "separate images: on for the older systemd-boot builder only" = {
    expr =
      map
        (
          machine:
          let
            r = with' machine { };
          in
          {
            on = r.config.sops.initrd.separateImages;
            files = builtins.attrNames r.config.boot.initrd.systemd.contents;
          }
        )
        [
          { }
          { release = "25.11"; }
          { release = "26.11"; }
          # NixOS unstable before it had the new builder
          {
            release = "26.11";
            newBuilder = false;
          }
          { loader = "grub"; }
          { loader = "limine"; }
        ];
    expected =
      let
        yes = {
          on = true;
          files = [ "/etc/sops-initrd-inputs" ];
        };
        no = {
          on = false;
          files = [ ];
        };
      in
      [
        yes
        yes
        no
        yes
        no
        no
      ];
  };

  "separate images: scripted stage 1" = {
    expr = {
      files = lib.mapAttrs (_: f: f.source.text == digest systemd) scripted.config.boot.initrd.extraFiles;
      systemd = systemd.config.boot.initrd.extraFiles;
    };
    expected = {
      files."/etc/sops-initrd-inputs" = true;
      systemd = { };
    };
  };

  "separate images: another sops file, key, place, text or source is another image; another owner at activation is not" = {
    expr = map (config: digest (with' { } config) == digest systemd) [
      { sops.secrets.luks.sopsFile = assets + "/rotated.yaml"; }
      { sops.secrets.luks.key = "wireguard"; }
      { sops.secrets.luks.initrd.mode = lib.mkForce "0400"; }
      { sops.templates.t = { content = "x"; neededForInitrd = true; }; }
      { boot.initrd.secrets."/etc/iscsi" = lib.mkForce "/var/lib/other"; }
      { sops.secrets.luks.uid = 7; }
      { sops.secrets.test_key.sopsFile = assets + "/rotated.yaml"; }
      { sops.age.keyFile = "/other/key"; }
    ];
    expected = [
      false
      false
      false
      false
      false
      true
      true
      true
    ];
  };

  "separate images: what counts is what is in a sops file, not where it lies" = {
    expr = digest (with' { } { sops.secrets.luks.sopsFile = assets + "/secrets-link.yaml"; }) == digest systemd;
    expected = true;
  };

  "separate images: a sops file that has to be built counts with its name, and is not built" = {
    expr =
      let
        built =
          name:
          digest (
            with' { } {
              sops.secrets.luks.sopsFile = derivation {
                inherit name;
                system = "any";
                builder = "none";
              };
            }
          );
      in
      [
        (built "a" == built "a")
        (built "a" == built "b")
      ];
    expected = [
      true
      false
    ];
  };

  "separate images: a text that changes is another image" = {
    expr =
      let
        r =
          content:
          digest (with' { } { sops.templates.t = { inherit content; neededForInitrd = true; }; });
      in
      r "a" == r "b";
    expected = false;
  };

  "separate images: sops files outside of the store are warned about" = {
    expr =
      (with' { } {
        sops.validateSopsFiles = false;
        sops.secrets.luks.sopsFile = "/etc/nixos/secrets.yaml";
      }).warnings;
    expected = [
      "sops.initrd.separateImages does not cover /etc/nixos/secrets.yaml, because it is not in the Nix store. Generations that differ only in what is in there share an image on this boot loader, and with it the secrets that were installed last."
    ];
  };

  "separate images: not where nothing of sops is in the initrd" = {
    expr =
      builtins.attrNames
        (evaluate {
          config = {
            sops.initrd.enable = true;
            boot.initrd.secrets."/etc/iscsi" = "/var/lib/iscsi";
          };
        }).config.boot.initrd.systemd.contents;
    expected = [ ];
  };

  "left in /run: what no installation replaces is removed" = {
    expr =
      (with' { } {
        sops.secrets.a.initrd.only = true;
        sops.secrets.b = {
          neededForInitrd = true;
          initrd.path = "/run/keys/b";
        };
        sops.secrets.c = {
          neededForInitrd = true;
          path = "/run/c";
        };
        # There are no secrets for users that would be installed over it.
        sops.secrets.d = {
          neededForInitrd = true;
          initrd.path = "/run/secrets-for-users/d";
        };
        boot.initrd.secrets."/run/other" = "/var/lib/other";
      }).config.systemd.tmpfiles.rules;
    expected = [
      "r! /run/keys/b"
      "r! /run/secrets-for-users/d"
    ];
  };

  "left in /run: names that tmpfiles would read as something else" = {
    expr =
      (with' { } {
        sops.secrets.a = {
          initrd.only = true;
          initrd.path = "/run/keys/50%";
        };
        sops.secrets.b = {
          initrd.only = true;
          initrd.path = "/run/keys/it's\"b\"";
        };
      }).config.systemd.tmpfiles.rules;
    expected = [
      "r! /run/keys/50%%"
      "r! \"/run/keys/it's\\\"b\\\"\""
    ];
  };

  "left in /run: /run/secrets itself, when nothing is installed there" = {
    expr =
      (evaluate {
        config = {
          sops.defaultSopsFile = assets + "/secrets.yaml";
          sops.secrets.luks.initrd.only = true;
        };
      }).config.systemd.tmpfiles.rules;
    expected = [ "r! /run/secrets/luks" ];
  };
}
