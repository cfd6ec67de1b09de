# Every assertion and warning: what triggers it, and its words.
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
    users.users.nginx.group = "nginx";
  };
  faults =
    config:
    (evaluate {
      config.imports = [
        base
        config
      ];
    }).faults;
  warnings =
    config:
    (evaluate {
      config.imports = [
        base
        config
      ];
    }).warnings;
  says = text: {
    expr = text.from;
    expected = text.words;
  };
in
lib.mapAttrs (_: says) {
  "no key" = {
    from = faults {
      services.openssh.enable = false;
      sops.secrets.a = { };
    };
    words = [
      "sops has no key to decrypt secrets with: enable services.openssh, or set sops.age.keyFile, sops.age.sshKeyPaths, sops.gnupg.sshKeyPaths or sops.gnupg.home"
    ];
  };

  "two kinds of OpenPGP keys" = {
    from = faults {
      sops.secrets.a = { };
      sops.gnupg.home = "/root/.gnupg";
    };
    words = [
      "sops.gnupg.home and sops.gnupg.sshKeyPaths are both set; set sops.gnupg.sshKeyPaths to [ ], or sops.gnupg.home to null"
    ];
  };

  "a key to generate, but nowhere to put it" = {
    from = faults {
      sops.secrets.a = { };
      sops.age.generateKey = true;
    };
    words = [
      "sops.age.generateKey is enabled but sops.age.keyFile is not set: set it to where the key should be created"
    ];
  };

  "a key that is one of the secrets" = {
    from = faults {
      sops.secrets.a.path = "/etc/ssh/key";
      sops.templates.t.path = "/var/lib/key.txt";
      sops.age.sshKeyPaths = [ "/etc/ssh/key" ];
      sops.gnupg.sshKeyPaths = [ "/run/secrets/b" ];
      sops.age.keyFile = "/var/lib/key.txt";
      sops.secrets.b = { };
    };
    words = [
      "sops.age.sshKeyPaths: /etc/ssh/key is installed by sops.secrets.a, so it cannot decrypt secrets: it is not there before they are decrypted; remove it from sops.age.sshKeyPaths"
      "sops.gnupg.sshKeyPaths: /run/secrets/b is installed by sops.secrets.b, so it cannot decrypt secrets: it is not there before they are decrypted; remove it from sops.gnupg.sshKeyPaths"
      "sops.age.keyFile: /var/lib/key.txt is installed by sops.templates.t, so it cannot decrypt secrets: it is not there before they are decrypted; remove it from sops.age.keyFile"
    ];
  };

  "owner and uid, group and gid" = {
    from = faults {
      sops.secrets.a = {
        owner = "nginx";
        uid = 1;
      };
      sops.secrets.b = {
        group = "nginx";
        gid = 1;
      };
      sops.templates."t.conf" = {
        owner = "nginx";
        uid = 1;
        gid = 2;
      };
      sops.secrets.fine = {
        owner = "nginx";
        uid = null;
        gid = null;
      };
    };
    words = [
      "sops.secrets.a: owner (nginx) and uid (1) are both set; set only one of them"
      "sops.secrets.b: group (nginx) and gid (1) are both set; set only one of them (group follows from owner)"
      "sops.templates.\"t.conf\": owner (nginx) and uid (1) are both set; set only one of them"
      "sops.templates.\"t.conf\": group (nginx) and gid (2) are both set; set only one of them (group follows from owner)"
    ];
  };

  "owner and uid without validation: as in the reference no error, but a warning" = {
    from =
      let
        config = {
          sops.validateSopsFiles = false;
          sops.secrets.a = {
            owner = "nginx";
            uid = 1;
          };
        };
      in
      {
        faults = faults config;
        warnings = warnings config;
      };
    words = {
      faults = [ ];
      warnings = [ "sops.secrets.a: owner (nginx) and uid (1) are both set; set only one of them" ];
    };
  };

  "a sops file that does not exist, one outside of the store" = {
    from = faults {
      sops.secrets.a.sopsFile = assets + "/missing.yaml";
      sops.secrets."b.c".sopsFile = "/etc/hostname";
    };
    words = [
      "sops.secrets.a.sopsFile: there is no file ${toString assets}/missing.yaml"
      "sops.secrets.\"b.c\".sopsFile: /etc/hostname is not in the Nix store; write it as a path (./secrets.yaml), or set sops.validateSopsFiles to false"
    ];
  };

  "a sops file that does not exist is an error of the manifest itself, too" = {
    from =
      (builtins.tryEval
        (evaluate {
          config.imports = [
            base
            { sops.secrets.a.sopsFile = assets + "/missing.yaml"; }
          ];
        }).manifest
      ).success;
    words = false;
  };

  "a sops file that has to be built is not looked at" = {
    from = faults {
      sops.secrets.a.sopsFile = derivation {
        name = "generated.yaml";
        system = "any";
        builder = "none";
      };
    };
    words = [ ];
  };

  "for users: only root" = {
    from = faults {
      sops.secrets.a = {
        neededForUsers = true;
        uid = 1;
      };
      sops.templates.t = {
        neededForUsers = true;
        gid = 1;
      };
    };
    words = [
      "sops.secrets.a: neededForUsers is set, so it is installed before there are any users, and can only belong to root; remove uid and gid"
      "sops.templates.t: neededForUsers is set, so it is installed before there are any users, and can only belong to root; remove uid and gid"
    ];
  };

  "for users: an owner has no effect" = {
    from = warnings {
      sops.secrets.a = {
        neededForUsers = true;
        owner = "nginx";
      };
      users.users.root.group = "root";
      sops.secrets.b = {
        neededForUsers = true;
        owner = "root";
      };
    };
    words = [
      "sops.secrets.a: owner nginx has no effect, since neededForUsers installs it before there are any users"
    ];
  };

  "for users: systemd-sysusers sets no passwords of immutable users" = {
    from =
      (evaluate {
        users = "sysusers";
        config.imports = [
          base
          {
            users.mutableUsers = false;
            sops.secrets.a.neededForUsers = true;
          }
        ];
      }).faults;
    words = [
      "sops.secrets.<name>.neededForUsers does not work with systemd.sysusers.enable and users.mutableUsers = false, since systemd-sysusers sets no password then: set users.mutableUsers to true, or use services.userborn"
    ];
  };

  "for users and for the initrd" = {
    from = faults {
      sops.secrets.a = {
        neededForUsers = true;
        neededForInitrd = true;
      };
    };
    words = [
      "sops.secrets.a: neededForInitrd and neededForUsers are both set, but a secret has one place; declare it twice, under two names with the same key"
    ];
  };

  "templates with secrets that are installed elsewhere" = {
    from = faults (
      { config, ... }:
      {
        sops.secrets.password.neededForUsers = true;
        sops.secrets.luks.initrd.only = true;
        sops.secrets.here = { };
        sops.templates.t.content = "${config.sops.placeholder.password} ${config.sops.placeholder.here}";
        sops.templates.u.content = config.sops.placeholder.luks;
        sops.templates.v = {
          neededForUsers = true;
          content = config.sops.placeholder.here;
        };
      }
    );
    words = [
      "sops.templates.t uses sops.placeholder.password, but sops.secrets.password is not installed at activation with it; set neededForUsers of both or of none, and initrd.only of none"
      "sops.templates.u uses sops.placeholder.luks, but sops.secrets.luks is not installed at activation with it; set neededForUsers of both or of none, and initrd.only of none"
      "sops.templates.v uses sops.placeholder.here, but sops.secrets.here is not installed before users are made; set neededForUsers for it, too"
    ];
  };

  "templates in files: what is in the file counts, and one that has to be built is not looked at" = {
    from = faults {
      sops.secrets.luks.initrd.only = true;
      sops.placeholder.luks = "2024";
      sops.templates.t.file = assets + "/template.conf";
      sops.templates.u.file = derivation {
        name = "generated.conf";
        system = "any";
        builder = "none";
      };
    };
    words = [
      "sops.templates.t uses sops.placeholder.luks, but sops.secrets.luks is not installed at activation with it; set neededForUsers of both or of none, and initrd.only of none"
    ];
  };

  "a template for the initrd may use what is nowhere else" = {
    from = faults (
      { config, ... }:
      {
        sops.secrets.luks.initrd.only = true;
        sops.templates.u = {
          content = config.sops.placeholder.luks;
          initrd.only = true;
        };
      }
    );
    words = [ ];
  };

  "private keys in the store" = {
    from = warnings {
      sops.secrets.a = { };
      sops.age.sshKeyPaths = [ (pkgs.writeText "key" "x") ];
    };
    words = [
      "sops.age.sshKeyPaths: ${pkgs.writeText "key" "x"} is in the Nix store, where everybody can read it; keep private keys elsewhere"
    ];
  };

  "an age key file in the store is an error of its type" = {
    from =
      (builtins.tryEval
        (evaluate {
          config.sops.age.keyFile = "/nix/store/x/key.txt";
        }).config.sops.age.keyFile
      ).success;
    words = false;
  };

  "initrd: names that stage 1 cannot carry" = {
    from = faults {
      sops.secrets."a b".neededForInitrd = true;
      sops.secrets.b = {
        neededForInitrd = true;
        initrd.path = "/etc/[b]";
      };
      boot.initrd.secrets."/etc/../x" = "/x";
    };
    words = [
      "boot.initrd.secrets.\"/etc/../x\": \"/etc/../x\" contains \"..\"; use another path"
      "sops.secrets.b.initrd.path: \"/etc/[b]\" contains white space or one of *?[]\\, which stage 1 cannot copy; use another path"
      "sops.secrets.\"a b\".initrd.path: \"/run/secrets/a b\" contains white space or one of *?[]\\, which stage 1 cannot copy; use another path"
    ];
  };

  "initrd: early, below a place that is mounted over" = {
    from = faults {
      sops.secrets.a = {
        neededForInitrd = true;
        initrd.early = true;
      };
    };
    words = [
      "sops.secrets.a.initrd.path: /run/secrets/a cannot be in the image itself, because stage 1 mounts a file system over it; unset initrd.early of sops.secrets.a, or use another path"
    ];
  };

  "initrd: two in one place" = {
    from = faults {
      sops.secrets.a = {
        neededForInitrd = true;
        initrd.path = "/k";
      };
      sops.templates.t = {
        neededForInitrd = true;
        initrd.path = "/k";
      };
    };
    words = [
      "sops.templates.t is needed in the initrd at /k, but boot.initrd.secrets.\"/k\" puts something else there; remove that, or set sops.templates.t.initrd.path"
      "sops.secrets.a.initrd.path and sops.templates.t.initrd.path are the same, /k; give each its own"
    ];
  };

  "initrd: one place in two spellings" = {
    from = faults {
      sops.initrd.enable = true;
      boot.initrd.secrets."/k" = "/a";
      boot.initrd.secrets."//k" = "/b";
    };
    words = [ "boot.initrd.secrets names /k 2 times, in different spellings; keep one" ];
  };

  "initrd: a default of somebody else's in the place of a secret" = {
    from = faults {
      sops.secrets.a.neededForInitrd = true;
      boot.initrd.secrets."/run/secrets/a" = lib.mkDefault "/var/lib/a";
    };
    words = [
      "sops.secrets.a is needed in the initrd at /run/secrets/a, but boot.initrd.secrets.\"/run/secrets/a\" puts something else there; remove that, or set sops.secrets.a.initrd.path"
    ];
  };

  "initrd: secrets that somebody overrode as a whole" = {
    from = faults {
      sops.secrets.a.neededForInitrd = true;
      sops.secrets.luks = { };
      boot.initrd.luks.devices.root.keyFile = "/run/secrets/luks";
      boot.initrd.secrets = lib.mkForce { };
    };
    words = [
      "sops.secrets.a is needed in the initrd at /run/secrets/a, but boot.initrd.secrets lacks it (lib.mkForce?); add it there, or, where no secret shall be in the initrd, set sops.initrd.enable to false"
      "boot.initrd.luks.devices.root.keyFile is /run/secrets/luks, which is a secret, but boot.initrd.secrets lacks it (lib.mkForce?); add it there, or, where no secret shall be in the initrd, set sops.initrd.enable to false"
    ];
  };

  "initrd: overridden where the initrd is switched off" = {
    from = faults {
      sops.secrets.a.neededForInitrd = true;
      sops.initrd.enable = false;
      boot.initrd.secrets = lib.mkForce { };
    };
    words = [ ];
  };

  "the environment: names, and values in quotes" = {
    from = faults {
      sops.secrets.a = { };
      sops.environment = {
        "1A" = "x";
        B = "'$(cat /key)'";
        C = lib.escapeShellArg "a b";
        D = "it's";
      };
      sops.initrd.environment.E = "'e'";
    };
    words =
      let
        quoted =
          name:
          "${name} stands in single quotes. Values are taken literally here, so the quotes would be part of it, and a command in it would not run: remove the quotes (and lib.escapeShellArg). For an age key that a command prints, set SOPS_AGE_KEY_CMD to the command";
      in
      [
        "sops.environment.\"1A\": this is no name of an environment variable; use letters, digits and _"
        (quoted "sops.environment.B")
        (quoted "sops.environment.C")
        (quoted "sops.initrd.environment.E")
      ];
  };

  "the environment: the search path" = {
    from = warnings {
      sops.secrets.a = { };
      sops.environment.PATH = "/run/wrappers/bin";
    };
    words = [
      "sops.environment.PATH has no effect: put the packages of the programs that keys need into sops.age.plugins."
    ];
  };

  "keys on a file system that comes late: secrets for users by a unit" = {
    from =
      (evaluate {
        users = "userborn";
        config.imports = [
          base
          {
            sops.secrets.a.neededForUsers = true;
            sops.secrets.b = { };
            sops.age.keyFile = "/persist/keys/key.txt";
            sops.gnupg.sshKeyPaths = [ "/boot-time/key" ];
            fileSystems."/".device = "/dev/vda";
            fileSystems."/persist".device = "/dev/vdb";
            fileSystems."/boot-time" = {
              device = "/dev/vdc";
              neededForBoot = true;
            };
            fileSystems."/persist-not".device = "/dev/vdd";
            fileSystems."/var/lib".device = "/dev/vde";
          }
        ];
      }).faults;
    words = [
      "sops.age.keyFile: /persist/keys/key.txt is on /persist, which is mounted too late to decrypt secrets that are needed for users: set fileSystems.\"/persist\".neededForBoot to true, or keep it elsewhere"
    ];
  };

  "keys on a file system that comes late: scripts" = {
    from = warnings {
      sops.secrets.b = { };
      sops.gnupg.home = "/home/root/gnupg";
      sops.gnupg.sshKeyPaths = [ ];
      fileSystems."/home".device = "/dev/vdb";
    };
    words = [
      "sops.gnupg.home: /home/root/gnupg is on /home, which is mounted too late to decrypt secrets by an activation script at boot: set fileSystems.\"/home\".neededForBoot to true."
    ];
  };

  "keys on a file system that comes late: a unit waits for it" = {
    from = warnings {
      sops.secrets.b = { };
      sops.useSystemdActivation = true;
      sops.age.keyFile = "/home/key.txt";
      fileSystems."/home".device = "/dev/vdb";
    };
    words = [ ];
  };

  "scripts by choice: restarting units has no future" = {
    from = warnings {
      sops.secrets.a.restartUnits = [ "a.service" ];
      sops.templates.t.reloadUnits = [ "t.service" ];
      sops.secrets.c = { };
      sops.useSystemdActivation = false;
    };
    words = [
      "sops.useSystemdActivation is false, and restartUnits or reloadUnits of sops.secrets.a (and 1 more) count on activation scripts restarting units. NixOS deprecates that from 26.11 on and will drop it: set sops.useSystemdActivation to true."
    ];
  };

  "scripts by default: nothing is said" = {
    from = warnings { sops.secrets.a.restartUnits = [ "a.service" ]; };
    words = [ ];
  };

  "initrd: somebody else's file in the place of a secret" = {
    from = faults {
      sops.secrets.a.neededForInitrd = true;
      sops.secrets.b.neededForInitrd = true;
      boot.initrd.secrets."/run/secrets/a" = "/var/lib/a";
    };
    words = [
      "sops.secrets.a is needed in the initrd at /run/secrets/a, but boot.initrd.secrets.\"/run/secrets/a\" puts something else there; remove that, or set sops.secrets.a.initrd.path"
    ];
  };

  "initrd: a source in the store that nobody said is public" = {
    from = warnings {
      sops.secrets.a.neededForInitrd = true;
      boot.initrd.secrets."/etc/key" = "/nix/store/xxx-key";
      boot.initrd.secrets."/etc/drv" = pkgs.writeText "drv" "x";
      boot.initrd.secrets."/etc/ca.pem" = pkgs.writeText "ca.pem" "x";
      sops.initrd.allowedStoreSources = [ "/etc/ca.pem" ];
    };
    words = [
      "boot.initrd.secrets.\"/etc/drv\": its source ${pkgs.writeText "drv" "x"} is in the Nix store, where everybody can read it. Keep it in a sops file, or, if it is not secret, add \"/etc/drv\" to sops.initrd.allowedStoreSources."
      "boot.initrd.secrets.\"/etc/key\": its source /nix/store/xxx-key is in the Nix store, where everybody can read it. Keep it in a sops file, or, if it is not secret, add \"/etc/key\" to sops.initrd.allowedStoreSources."
    ];
  };

  "initrd: a host key as a Nix path is a plaintext source in the store" = {
    from = map (lib.hasInfix "is in the Nix store") (warnings {
      sops.secrets.a.neededForInitrd = true;
      boot.initrd.network.enable = true;
      boot.initrd.network.ssh.enable = true;
      boot.initrd.network.ssh.hostKeys = [ (assets + "/ssh_host_ed25519_key") ];
    });
    words = [ true ];
  };

  "initrd: clevis' files are encrypted" = {
    from = warnings {
      sops.secrets.a.neededForInitrd = true;
      boot.initrd.clevis.enable = true;
      boot.initrd.clevis.devices.root.secretFile = pkgs.writeText "root.jwe" "x";
      boot.initrd.secrets."/etc/clevis/root.jwe" = pkgs.writeText "root.jwe" "x";
    };
    words = [ ];
  };

  "initrd: a source below /run/secrets that is no secret" = {
    from = warnings {
      sops.secrets.a.neededForInitrd = true;
      boot.initrd.secrets."/etc/b" = "/run/secrets/b";
    };
    words = [
      "boot.initrd.secrets.\"/etc/b\": its source /run/secrets/b is no declared secret. What is there when the boot loader is installed comes from the configuration that runs at that moment: declare it in sops.secrets."
    ];
  };
}
