# What goes into the initrd, however it is said, and the hook that puts it there.
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
    sops.secrets.luks = { };
    sops.secrets.wireguard = { };
  };
  with' = config: evaluate { config.imports = [ base config ]; };
  entries = config: (with' config).config.sops.initrd.entries;

  secret = path: name: {
    inherit path;
    secret = name;
    mode = "0400";
    uid = 0;
    gid = 0;
  };

  nothing = with' { };
  marked = with' { sops.secrets.luks.neededForInitrd = true; };
  served = with' (
    { config, ... }:
    {
      boot.initrd.secrets."/etc/wg.key" = config.sops.secrets.wireguard.path;
    }
  );
in
{
  "nothing needed: NixOS's hook is not touched" = {
    expr = {
      inherit (nothing) hook faults warnings;
      inherit (nothing.config.sops.initrd) enable entries;
      inherit (nothing.config.boot.initrd) secrets;
      loaderIsTold = nothing.config.system.build.initrdSecrets;
      stage1 = builtins.attrNames nothing.config.boot.initrd.systemd.services;
    };
    expected = {
      hook = "the stock hook";
      faults = [ ];
      warnings = [ ];
      enable = false;
      entries = [ ];
      secrets = { };
      loaderIsTold = null;
      stage1 = [ ];
    };
  };

  "the program is at hand where it is used" = {
    expr = map (c: builtins.length c.config.environment.systemPackages) [
      nothing
      marked
    ];
    expected = [
      0
      1
    ];
  };

  "files of other modules alone: NixOS's hook is not touched" = {
    expr = (with' { boot.initrd.secrets."/etc/iscsi" = "/var/lib/iscsi"; }).hook;
    expected = "the stock hook";
  };

  "a marked secret is in the initrd and installed at activation, under one path" = {
    expr = {
      inherit (marked) faults warnings;
      inherit (marked.config.sops.initrd) enable entries;
      manifest = marked.initrdManifest;
      installed = map (s: s.path) marked.manifest.secrets;
      inherit (marked.config.boot.initrd) secrets;
    };
    expected = {
      faults = [ ];
      warnings = [ ];
      enable = true;
      entries = [ (secret "/run/secrets/luks" "luks") ];
      manifest = {
        version = 1;
        prefix = "/.initrd-secrets";
        ageSshKeyPaths = [ "/etc/ssh/ssh_host_ed25519_key" ];
        ageKeyFile = null;
        sshKeyPaths = [ "/etc/ssh/ssh_host_rsa_key" ];
        gnupgHome = null;
        secrets = [
          {
            name = "luks";
            key = "luks";
            format = "yaml";
            sopsFile = builtins.unsafeDiscardStringContext "${assets + "/secrets.yaml"}";
          }
        ];
        templates = [ ];
        placeholderBySecretName.luks = "<SOPS:${builtins.hashString "sha256" "luks"}:PLACEHOLDER>";
        entries = [ (secret "/run/secrets/luks" "luks") ];
      };
      installed = [
        "/run/secrets/luks"
        "/run/secrets/wireguard"
      ];
      secrets."/run/secrets/luks" = "/run/secrets/luks";
    };
  };

  "the manifest of the initrd is checked when it is built" = {
    expr = marked.config.system.build.sops-initrd-manifest.checkPhase;
    expected = "${marked.config.sops.initrd.package}/bin/sops-initrd check \"$target\"\n";
  };

  "the hook" = {
    expr =
      let
        build = marked.config.system.build;
        text = lib.splitString "\n" marked.hook;
      in
      {
        shebang = builtins.head text;
        command = lib.findFirst (lib.hasInfix "sops-initrd append") "none" text;
        inherit (build.initialRamdiskSecretAppender) name destination executable;
        loaderIsTold = build.initrdSecrets == "${build.initialRamdiskSecretAppender}/bin/append-initrd-secrets";
      };
    expected = {
      shebang = "#!${pkgs.runtimeShell}";
      command = "  exec ${marked.config.sops.initrd.package}/bin/sops-initrd append --manifest ${marked.config.system.build.sops-initrd-manifest} --base ${marked.config.system.build.initialRamdisk}/initrd --state /var/lib/sops-initrd -- \"$1\"";
      name = "append-initrd-secrets";
      destination = "/bin/append-initrd-secrets";
      executable = true;
      loaderIsTold = true;
    };
  };

  "the hook's package names its manifest, for sops-initrd status" = {
    expr = lib.hasInfix "ln -s ${marked.config.system.build.sops-initrd-manifest} \"$out/manifest.json\"" marked.config.system.build.initialRamdiskSecretAppender.checkPhase;
    expected = true;
  };

  "the hook of another configuration is another file" = {
    expr =
      marked.config.system.build.initialRamdiskSecretAppender.outPath
      == served.config.system.build.initialRamdiskSecretAppender.outPath;
    expected = false;
  };

  "the hook's options" = {
    expr =
      let
        hook =
          (with' {
            sops.secrets.luks.neededForInitrd = true;
            sops.initrd = {
              allowInPlace = true;
              allowLooseKeys = true;
              stateDirectory = "/persist/sops initrd";
              package = pkgs.age;
            };
          }).hook;
      in
      builtins.match ".*exec (.*)/bin/sops-initrd append .* --state (.*) -- \"\\$1\".*" hook;
    expected = [
      "${pkgs.age}"
      "'/persist/sops initrd' --allow-in-place --allow-loose-keys"
    ];
  };

  "the hook's environment: that of activation, the plugins, no home; more on request" = {
    expr =
      let
        hook =
          (with' {
            sops.secrets.luks.neededForInitrd = true;
            sops.environment.A = "1";
            sops.environment.B = "1";
            sops.initrd.environment.B = "2";
            sops.initrd.environment.C = "a b";
            sops.age.plugins = [ pkgs.age-plugin-tpm ];
            sops.gnupg.home = "/root/.gnupg";
            sops.gnupg.sshKeyPaths = [ ];
          }).hook;
      in
      builtins.filter (lib.hasPrefix "  export ") (lib.splitString "\n" hook);
    expected = [
      "  export A=1"
      "  export B=2"
      "  export C='a b'"
      "  export HOME=/var/empty"
      "  export PATH=${pkgs.age-plugin-tpm}/bin"
      "  export SOPS_GPG_EXEC=${pkgs.gnupg}/bin/gpg"
    ];
  };

  "a secret's place, owner and mode in stage 1, apart from those at activation" = {
    expr =
      let
        r = with' {
          users.users.nginx.group = "nginx";
          sops.secrets.luks = {
            owner = "nginx";
            mode = "0440";
            neededForInitrd = true;
            initrd.path = "/etc/luks.key";
            initrd.uid = 152;
            initrd.gid = 153;
          };
        };
      in
      {
        inherit (r) faults;
        inherit (r.config.sops.initrd) entries;
        inherit (r.config.boot.initrd) secrets;
        installed = (builtins.head r.manifest.secrets).path;
      };
    expected = {
      faults = [ ];
      entries = [
        {
          path = "/etc/luks.key";
          secret = "luks";
          mode = "0440";
          uid = 152;
          gid = 153;
        }
      ];
      secrets."/etc/luks.key" = "/run/secrets/luks";
      installed = "/run/secrets/luks";
    };
  };

  "initrd.only: needed there, and not installed" = {
    expr =
      let
        r = with' { sops.secrets.luks.initrd.only = true; };
      in
      {
        inherit (r) faults;
        inherit (r.config.sops.initrd) entries;
        installed = map (s: s.name) r.manifest.secrets;
      };
    expected = {
      faults = [ ];
      entries = [ (secret "/run/secrets/luks" "luks") ];
      installed = [ "wireguard" ];
    };
  };

  "initrd.early: in the image itself" = {
    expr =
      let
        r = with' {
          sops.templates.crypttab = {
            content = "root /dev/vda /luks.key";
            initrd.path = "/etc/crypttab";
            initrd.early = true;
            initrd.only = true;
          };
        };
      in
      {
        inherit (r) faults;
        inherit (r.config.sops.initrd) entries;
        # Nothing is copied, so nothing has to be set after copying.
        post = r.config.boot.initrd.systemd.services.initrd-nixos-copy-secrets.postStart;
      };
    expected = {
      faults = [ ];
      entries = [
        {
          path = "/etc/crypttab";
          template = "crypttab";
          mode = "0400";
          uid = 0;
          gid = 0;
          prefix = "/";
        }
      ];
      post = "";
    };
  };

  "a template brings the secrets that it uses, and no others" = {
    expr =
      let
        r = with' (
          { config, ... }:
          {
            sops.templates."wg.netdev" = {
              content = "PrivateKey=${config.sops.placeholder.wireguard}";
              neededForInitrd = true;
              initrd.path = "/etc/systemd/network/wg.netdev";
              initrd.mode = "0440";
              initrd.uid = 152;
              initrd.gid = 152;
            };
          }
        );
      in
      {
        inherit (r) faults;
        inherit (r.initrdManifest) templates entries;
        secrets = map (s: s.name) r.initrdManifest.secrets;
        placeholders = builtins.attrNames r.initrdManifest.placeholderBySecretName;
        installed = map (t: t.path) r.manifest.templates;
      };
    expected = {
      faults = [ ];
      templates = [
        {
          name = "wg.netdev";
          content = "PrivateKey=<SOPS:${builtins.hashString "sha256" "wireguard"}:PLACEHOLDER>";
        }
      ];
      entries = [
        {
          path = "/etc/systemd/network/wg.netdev";
          template = "wg.netdev";
          mode = "0440";
          uid = 152;
          gid = 152;
        }
      ];
      secrets = [ "wireguard" ];
      placeholders = [ "wireguard" ];
      installed = [ "/run/secrets/rendered/wg.netdev" ];
    };
  };

  "a template in a file brings the secrets that the file uses" = {
    expr =
      let
        r = with' {
          sops.placeholder.luks = "2024";
          sops.placeholder.wireguard = "no such text";
          sops.templates.t = {
            file = assets + "/template.conf";
            neededForInitrd = true;
          };
        };
      in
      map (s: s.name) r.initrdManifest.secrets;
    expected = [ "luks" ];
  };

  "written where users write it: boot.initrd.secrets" = {
    expr = {
      inherit (served) faults warnings;
      inherit (served.config.sops.initrd) enable entries;
      replaced = served.hook != "the stock hook";
    };
    expected = {
      faults = [ ];
      warnings = [
        "boot.initrd.secrets.\"/etc/wg.key\" is decrypted from its sops file when the boot loader is installed. Set sops.secrets.wireguard.neededForInitrd to true to say so, and to silence this notice."
      ];
      enable = true;
      entries = [ (secret "/etc/wg.key" "wireguard") ];
      replaced = true;
    };
  };

  "written where users write it: null, the same path in and out" = {
    expr = entries { boot.initrd.secrets."/run/secrets/luks" = null; };
    expected = [ (secret "/run/secrets/luks" "luks") ];
  };

  "written where users write it: its own path twice" = {
    expr = entries (
      { config, ... }:
      {
        boot.initrd.secrets.${config.sops.secrets.luks.path} = config.sops.secrets.luks.path;
        sops.secrets.luks.neededForInitrd = true;
      }
    );
    expected = [ (secret "/run/secrets/luks" "luks") ];
  };

  "written where users write it: hostKeys" = {
    expr =
      let
        r = with' (
          { config, ... }:
          {
            sops.secrets.initrd-ssh-key = { };
            boot.initrd.network.enable = true;
            boot.initrd.network.ssh = {
              enable = true;
              hostKeys = [ config.sops.secrets.initrd-ssh-key.path ];
            };
          }
        );
      in
      {
        inherit (r) faults;
        inherit (r.config.sops.initrd) entries;
        notices = builtins.length r.warnings;
      };
    expected = {
      faults = [ ];
      entries = [ (secret "/run/secrets/initrd-ssh-key" "initrd-ssh-key") ];
      notices = 1;
    };
  };

  "written where users write it: a LUKS key file" = {
    expr =
      let
        r = with' (
          { config, ... }:
          {
            sops.secrets.luks.neededForInitrd = true;
            boot.initrd.luks.devices.root.keyFile = config.sops.secrets.luks.path;
          }
        );
      in
      {
        inherit (r) faults warnings;
        key = r.config.boot.initrd.luks.devices.root.keyFile;
        paths = map (e: e.path) r.config.sops.initrd.entries;
      };
    expected = {
      faults = [ ];
      warnings = [ ];
      key = "/run/secrets/luks";
      paths = [ "/run/secrets/luks" ];
    };
  };

  "a secret with a path of its own is found by it" = {
    expr = entries {
      sops.secrets.luks.path = "/etc/keys/luks";
      boot.initrd.secrets."/luks.key" = "/etc/keys/luks";
    };
    expected = [ (secret "/luks.key" "luks") ];
  };

  "a secret that is needed for users can be used by its path" = {
    expr = entries {
      sops.secrets.luks.neededForUsers = true;
      boot.initrd.secrets."/luks.key" = "/run/secrets-for-users/luks";
    };
    expected = [ (secret "/luks.key" "luks") ];
  };

  "a template, a secret and a file of the host together" = {
    expr =
      map
        (
          config:
          let
            r = with' {
              imports = [ config ];
              sops.templates."app.conf".content = "x";
            };
          in
          {
            inherit (r) faults;
            warnings = builtins.length r.warnings;
            entries = map (e: e.path) r.config.sops.initrd.entries;
          }
        )
        [
          {
            sops.secrets.luks.neededForInitrd = true;
            boot.initrd.secrets."/etc/other" = "/etc/other";
          }
          (
            { config, ... }:
            {
              boot.initrd.network.enable = true;
              boot.initrd.network.ssh.enable = true;
              boot.initrd.network.ssh.hostKeys = [
                config.sops.secrets.luks.path
                "/etc/secrets/initrd/ssh_host_rsa_key"
              ];
            }
          )
        ];
    expected = [
      {
        faults = [ ];
        warnings = 0;
        entries = [
          "/etc/other"
          "/run/secrets/luks"
        ];
      }
      {
        faults = [ ];
        warnings = 1;
        entries = [
          "/etc/secrets/initrd/ssh_host_rsa_key"
          "/run/secrets/luks"
        ];
      }
    ];
  };

  "a secret and a template of one name are two" = {
    expr =
      map (e: e.secret or e.template)
        (with' {
          sops.secrets.x.neededForInitrd = true;
          sops.templates.x = {
            content = "x";
            neededForInitrd = true;
          };
        }).config.sops.initrd.entries;
    expected = [
      "x"
      "x"
    ];
  };

  "other spellings of a path, and the file behind a path of its own" = {
    expr = entries {
      sops.secrets.luks.path = "/etc/keys/luks";
      sops.templates.t = {
        content = "x";
        path = "/etc/t";
      };
      boot.initrd.secrets = {
        "/a" = "/run/secrets//wireguard";
        "/b" = "/run/secrets/./wireguard";
        "/c" = "/run/secrets/luks";
        "/d" = "/run/secrets/rendered/t";
      };
    };
    expected = [
      (secret "/a" "wireguard")
      (secret "/b" "wireguard")
      (secret "/c" "luks")
      {
        path = "/d";
        template = "t";
        mode = "0400";
        uid = 0;
        gid = 0;
      }
    ];
  };

  "a directory of secrets is served from the sops files" = {
    expr = entries {
      sops.secrets."x/a" = { };
      sops.secrets."x/b/c".path = "/var/lib/c";
      sops.secrets."x.d" = { };
      boot.initrd.secrets."/etc/x" = "/run/secrets/x";
      boot.initrd.secrets."/run/secrets/x/" = null;
      # Others may have files there, too.
      boot.initrd.secrets."/etc/y" = "/var/lib";
    };
    expected = [
      (secret "/etc/x/a" "x/a")
      (secret "/etc/x/b/c" "x/b/c")
      {
        path = "/etc/y";
        source = "/var/lib";
      }
      (secret "/run/secrets/x/a" "x/a")
      (secret "/run/secrets/x/b/c" "x/b/c")
    ];
  };

  "options of stage 1 that name a secret bring it into the initrd" = {
    expr =
      let
        r = with' (
          { config, ... }:
          let
            inherit (config.sops) secrets templates;
          in
          {
            sops.secrets.psk = {
              initrd.mode = "0440";
              initrd.gid = 152;
            };
            sops.templates.dataset.content = config.sops.placeholder.luks;
            boot.initrd.luks.devices.root.keyFile = secrets.luks.path;
            boot.initrd.luks.devices.swap.keyFile = "/dev/disk/by-id/key";
            boot.initrd.systemd.network.netdevs."10-wg0" = {
              wireguardConfig.PrivateKeyFile = secrets.wireguard.path;
              wireguardPeers = [ { PresharedKeyFile = secrets.psk.path; } ];
            };
            disko.devices.zpool.tank.datasets.root.options.keylocation = "file://${templates.dataset.path}";
          }
        );
      in
      {
        inherit (r) faults warnings;
        entries = map (e: e.path) r.config.sops.initrd.entries;
      };
    expected =
      let
        notice =
          from: option:
          "${from} is decrypted from its sops file when the boot loader is installed. Set ${option}.neededForInitrd to true to say so, and to silence this notice.";
      in
      {
        faults = [ ];
        warnings = [
          (notice "boot.initrd.luks.devices.root.keyFile" "sops.secrets.luks")
          (notice "boot.initrd.systemd.network.netdevs.\"10-wg0\".wireguardPeers.*.PresharedKeyFile" "sops.secrets.psk")
          (notice "disko.devices.zpool.tank.datasets.root.options.keylocation" "sops.templates.dataset")
          (notice "boot.initrd.systemd.network.netdevs.\"10-wg0\".wireguardConfig.PrivateKeyFile" "sops.secrets.wireguard")
          "boot.initrd.systemd.network.netdevs.\"10-wg0\".wireguardConfig.PrivateKeyFile: systemd-networkd cannot read /run/secrets/wireguard in stage 1, where it belongs to root: set sops.secrets.wireguard.initrd.mode to \"0440\" and initrd.gid to config.boot.initrd.systemd.groups.systemd-network.gid."
        ];
        entries = [
          "/run/secrets/luks"
          "/run/secrets/psk"
          "/run/secrets/rendered/dataset"
          "/run/secrets/wireguard"
        ];
      };
  };

  "options of stage 1 that name a secret: not while the initrd is switched off" = {
    expr =
      (with' {
        sops.initrd.enable = false;
        boot.initrd.luks.devices.root.keyFile = "/run/secrets/luks";
      }).config.boot.initrd.secrets;
    expected = { };
  };

  "a path in the initrd may come with a package" = {
    expr = map (e: e.path) (entries {
      sops.secrets.luks.neededForInitrd = true;
      sops.secrets.luks.initrd.path = "/etc/${pkgs.age}";
    });
    expected = [ "/etc${builtins.unsafeDiscardStringContext "${pkgs.age}"}" ];
  };

  "one secret in two places" = {
    expr = entries {
      sops.secrets.luks.neededForInitrd = true;
      boot.initrd.secrets."/luks.key" = "/run/secrets/luks";
    };
    expected = [
      (secret "/luks.key" "luks")
      (secret "/run/secrets/luks" "luks")
    ];
  };

  "files of other modules are taken over, spelled as they are" = {
    expr = entries {
      sops.secrets.luks.neededForInitrd = true;
      boot.initrd.secrets = {
        "etc/iscsi" = "/var/lib/iscsi";
        "//etc/./same" = null;
        "/etc/path" = /var/lib/path;
      };
    };
    expected = [
      {
        path = "/etc/same";
        source = "/etc/same";
      }
      {
        path = "/etc/path";
        source = "/var/lib/path";
      }
      (secret "/run/secrets/luks" "luks")
      {
        path = "/etc/iscsi";
        source = "/var/lib/iscsi";
      }
    ];
  };

  "switched off: no secret is put there, and NixOS's hook stays" = {
    expr =
      let
        r = with' {
          sops.initrd.enable = false;
          sops.secrets.luks.neededForInitrd = true;
          boot.initrd.secrets."/etc/iscsi" = "/var/lib/iscsi";
        };
      in
      {
        inherit (r) hook faults;
        inherit (r.config.boot.initrd) secrets;
        stage1 = r.config.boot.initrd.systemd.services.initrd-nixos-copy-secrets.postStart;
      };
    expected = {
      hook = "the stock hook";
      faults = [ ];
      secrets."/etc/iscsi" = "/var/lib/iscsi";
      stage1 = "";
    };
  };

  "switched on: files of other modules alone are installed by us" = {
    expr =
      let
        r = with' {
          sops.initrd.enable = true;
          boot.initrd.secrets."/etc/iscsi" = "/var/lib/iscsi";
        };
      in
      {
        inherit (r) faults;
        replaced = r.hook != "the stock hook";
        inherit (r.initrdManifest) entries secrets;
      };
    expected = {
      faults = [ ];
      replaced = true;
      entries = [
        {
          path = "/etc/iscsi";
          source = "/var/lib/iscsi";
        }
      ];
      secrets = [ ];
    };
  };

  "a container has no initrd: nothing is touched, nothing is wrong" = {
    expr =
      let
        r = with' {
          boot.isContainer = true;
          sops.secrets.luks.neededForInitrd = true;
        };
      in
      {
        inherit (r) faults;
        hook = (builtins.tryEval r.hook).success;
      };
    expected = {
      faults = [ ];
      hook = false;
    };
  };

  "specialisations have manifests and hooks of their own" = {
    expr =
      let
        parent = with' { sops.secrets.luks.neededForInitrd = true; };
        child = with' {
          sops.secrets.luks.neededForInitrd = true;
          sops.secrets.luks.sopsFile = assets + "/rotated.yaml";
        };
      in
      {
        manifests = parent.initrdManifest == child.initrdManifest;
        hooks = parent.hook == child.hook;
      };
    expected = {
      manifests = false;
      hooks = false;
    };
  };
}
