# What the module does with single configurations, those above all that sops-nix's module fails on.
{
  lib,
  pkgs,
  evaluate,
  inNixOS,
}:

let
  assets = ../../nixos/tests/assets;

  user =
    change:
    evaluate {
      config = {
        imports = [ change ];
        sops.defaultSopsFile = assets + "/secrets.yaml";
        sops.age.keyFile = "/home/alice/key.txt";
      };
    };
  one =
    change:
    user {
      imports = [ change ];
      sops.secrets.test_key = { };
    };

  activation = r: r.config.home.activation.sops-nix.data;
  # The script that activation and unit run; store paths are texts.
  script = r: lib.concatStrings r.unit.Service.ExecStart;
  exports = r: builtins.filter (lib.hasPrefix "export ") (lib.splitString "\n" (script r));
in
{
  "secrets are installed between the links and the units of the new configuration" = {
    expr =
      let
        order =
          (one (
            { lib, ... }:
            {
              home.activation.user = lib.hm.dag.entryAfter [ "sops-nix" ] "";
            }
          )).order;
        place = name: lib.lists.findFirstIndex (n: n == name) null order;
      in
      [
        (place "linkGeneration" < place "sops-nix")
        (place "sops-nix" < place "reloadSystemd")
        (place "sops-nix" < place "user")
      ];
    expected = [
      true
      true
      true
    ];
  };

  "without units of the user's the activation leaves the secrets to none" = {
    expr = map (enable: lib.hasInfix "installs the secrets at login" (activation (one { systemd.user.enable = enable; }))) [
      true
      false
    ];
    expected = [
      true
      false
    ];
  };

  "plugins come before the PATH that there is, systemctl behind it" = {
    expr = map (plugins: exports (one { sops.age.plugins = plugins; })) [
      [ ]
      [ pkgs.age-plugin-tpm ]
    ];
    expected = [
      [ "export PATH=\${PATH:+$PATH:}${pkgs.systemd}/bin" ]
      [ "export PATH=${pkgs.age-plugin-tpm}/bin:\${PATH:+$PATH:}${pkgs.systemd}/bin" ]
    ];
  };

  "a PATH of the configuration counts" = {
    expr = exports (one { sops.environment.PATH = "/opt/bin"; });
    expected = [
      "export PATH=/opt/bin"
      "export PATH=\${PATH:+$PATH:}${pkgs.systemd}/bin"
    ];
  };

  "values of the environment are literal, and a specifier of systemd is warned of" = {
    expr =
      let
        r = one { sops.environment.QUOTED = "it's \"so\" $HOME %h"; };
      in
      {
        export = builtins.head (builtins.filter (lib.hasInfix "QUOTED") (exports r));
        inherit (r) warnings;
        ofUnit = r.unit.Service.Environment;
      };
    expected = {
      export = "export QUOTED='it'\\''s \"so\" $HOME %h'";
      warnings = [
        "sops.environment.QUOTED is taken literally: write the path instead of a specifier of systemd (%h, %t)"
      ];
      ofUnit = [ ];
    };
  };

  "templates follow sops.defaultSymlinkPath, and may have slashes in their names" = {
    expr =
      map
        (t: {
          inherit (t) name path content;
        })
        (one {
          sops.defaultSymlinkPath = "/home/alice/.secrets";
          sops.templates."mail/config".content = "x";
        }).manifest.templates;
    expected = [
      {
        name = "mail/config";
        path = "/home/alice/.secrets/rendered/mail/config";
        content = "x";
      }
    ];
  };

  "the file of a template whose name has slashes can be made" = {
    expr = (one { sops.templates."mail/config".content = "x"; }).config.sops.templates."mail/config".file.name;
    expected = "config";
  };

  "templates without secrets are installed" = {
    expr =
      let
        r = user { sops.templates.motd.content = "hello"; };
      in
      {
        inherit (r) faults;
        templates = map (t: t.name) r.manifest.templates;
        unit = r.unit != null;
      };
    expected = {
      faults = [ ];
      templates = [ "motd" ];
      unit = true;
    };
  };

  "nothing is asked for, nothing is done" = {
    expr =
      let
        r = evaluate { };
      in
      {
        inherit (r) faults warnings;
        unit = r.unit != null;
        activation = r.config.home.activation ? sops-nix;
        target = r.config.systemd.user.targets ? sops-secrets;
        variables = r.config.home.sessionVariables ? SOPS_GPG_EXEC;
      };
    expected = {
      faults = [ ];
      warnings = [ ];
      unit = false;
      activation = false;
      target = false;
      variables = false;
    };
  };

  "removing the last secret takes away what was installed, where something was" = {
    expr =
      let
        r = user { sops.defaultSymlinkPath = "%r/my secrets"; };
        text = activation r;
      in
      {
        secrets = r.manifest.secrets;
        unit = r.unit != null;
        only = lib.hasInfix "if [[ ! -d ''$sopsRuntimeDir'/my secrets' ]]; then\n  :\nelif [[ -v DRY_RUN ]]" text;
      };
    expected = {
      secrets = [ ];
      unit = false;
      only = true;
    };
  };

  "a target wants the unit, and starts where only the unit fails" = {
    expr = (one { }).config.systemd.user.targets.sops-secrets;
    expected = {
      Unit = {
        Description = "Secrets";
        Documentation = [ ];
        Wants = [ "sops-nix.service" ];
        After = [ "sops-nix.service" ];
      };
      Install.WantedBy = [ "default.target" ];
    };
  };

  "units of the user, key timeout and generated keys reach the program" = {
    expr =
      let
        m =
          (one {
            sops.keyTimeout = 5;
            sops.age.generateKey = true;
            sops.secrets.test_key.restartUnits = [ "mail.service" ];
            sops.secrets.test_key.reloadUnits = [ "news.service" ];
          }).manifest;
      in
      {
        inherit (m) keyTimeout generateAgeKey userMode;
        inherit (builtins.head m.secrets) restartUnits reloadUnits;
      };
    expected = {
      keyTimeout = 5;
      generateAgeKey = true;
      userMode = true;
      restartUnits = [ "mail.service" ];
      reloadUnits = [ "news.service" ];
    };
  };

  "the manifest is checked when it is built, recipients too" = {
    expr =
      let
        file =
          (one {
            sops.package = pkgs.sops;
            sops.hostRecipients = [ "age1x" ];
          }).config.sops.manifest.file;
      in
      map (lib.hasInfix "/bin/sops-initrd check --recipient age1x \"$target\"") (lib.splitString "\n" file.checkPhase);
    expected = [
      false
      true
      false
    ];
  };

  "all faults are told at once" = {
    expr =
      (user {
        sops.age.keyFile = lib.mkForce null;
        sops.age.generateKey = true;
        sops.gnupg.qubes-split-gpg.enable = true;
        sops.gnupg.home = "/g";
        sops.environment.A = "'quoted'";
        sops.secrets.a.sopsFile = "/outside.yaml";
      }).faults;
    expected = [
      "only one of sops.gnupg.home, sops.gnupg.sshKeyPaths and sops.gnupg.qubes-split-gpg.enable can be used; unset the others"
      "sops.gnupg.qubes-split-gpg.enable needs sops.gnupg.qubes-split-gpg.domain, the qube that has the keys"
      "sops.age.generateKey is enabled but sops.age.keyFile is not set: set it to where the key should be created"
      "sops.secrets.a.sopsFile: there is no file /outside.yaml"
      "sops.secrets.a.sopsFile: /outside.yaml is not in the Nix store; write it as a path (./secrets.yaml), or set sops.validateSopsFiles to false"
      "sops.environment.A stands in single quotes. Values are taken literally here, so the quotes would be part of it, and a command in it would not run: remove the quotes (and lib.escapeShellArg). For an age key that a command prints, set SOPS_AGE_KEY_CMD to the command"
    ];
  };

  "inside NixOS a user has what the same configuration has alone, and the system its own" = {
    expr =
      let
        sopsFile.sops.defaultSopsFile = assets + "/secrets.yaml";
        user.imports = [
          ./user.nix
          sopsFile
        ];
        host = inNixOS {
          imports = [ sopsFile ];
          users.users.alice = {
            isNormalUser = true;
            home = "/home/alice";
          };
          sops.secrets.luks = { };
          home-manager.users.alice = user;
        };
        alice = host.config.home-manager.users.alice;
        manifest = file: builtins.fromJSON (builtins.unsafeDiscardStringContext file.text);
        alone = evaluate { config = user; };
      in
      {
        inherit (host) faults;
        warnings = host.warnings == map (w: "alice profile: ${w}") alone.warnings;
        same = manifest alice.sops.manifest.file == alone.manifest;
        entry = activation { config = alice; } == activation alone;
        system = map (s: s.name) host.manifest.secrets;
        services = builtins.attrNames host.config.systemd.services;
      };
    expected = {
      faults = [ ];
      warnings = true;
      same = true;
      entry = true;
      system = [ "luks" ];
      services = [ "home-manager-alice" ];
    };
  };

  "a key that sops installs is no key, and no key is an error" = {
    expr = [
      (user {
        sops.secrets.k.path = "/home/alice/key.txt";
        sops.validateSopsFiles = false;
      }).faults
      (one { sops.age.keyFile = lib.mkForce null; }).faults
    ];
    expected = [
      [
        "sops.age.keyFile: /home/alice/key.txt is installed by sops.secrets.k, so it cannot decrypt secrets: it is not there before they are decrypted; remove it from sops.age.keyFile"
      ]
      [
        "sops has no key to decrypt secrets with: set sops.age.keyFile, sops.age.sshKeyPaths, sops.gnupg.sshKeyPaths, sops.gnupg.home or sops.gnupg.qubes-split-gpg.enable"
      ]
    ];
  };

  "on a Mac it says what to use instead, and does nothing" = {
    expr =
      let
        r = evaluate {
          isLinux = false;
          config.sops = {
            defaultSopsFile = assets + "/secrets.yaml";
            age.keyFile = "/Users/alice/key.txt";
            secrets.test_key = { };
          };
        };
      in
      {
        faults = map (builtins.match ".*(github:Mic92/sops-nix).*(homeManagerModules.sops).*") r.faults;
        unit = r.config.systemd.user.services ? sops-nix;
        agent = r.config.launchd.agents ? sops-nix;
        activation = r.config.home.activation ? sops-nix;
      };
    expected = {
      faults = [
        [
          "github:Mic92/sops-nix"
          "homeManagerModules.sops"
        ]
      ];
      unit = false;
      agent = false;
      activation = false;
    };
  };

  "the configuration of the documentation is in order" = {
    expr =
      let
        docs = ../../docs/examples/home;
        inherit ((import (docs + "/flake.nix")).outputs {
          self = { };
          nixpkgs.legacyPackages.x86_64-linux = pkgs;
          home-manager.lib.homeManagerConfiguration = user: user;
          sops-nix.homeManagerModules.sops = { }; # the evaluation has it
        }) homeConfigurations;
        r = evaluate {
          config = {
            imports = homeConfigurations.alice.modules;
            sops.validateSopsFiles = false; # the sops file is the reader's
          };
        };
      in
      {
        inherit (r) faults warnings;
        secrets = lib.mapAttrsToList (_: s: s.path) r.config.sops.secrets;
      };
    expected = {
      faults = [ ];
      warnings = [ ];
      secrets = [
        "/home/alice/.config/sops-nix/secrets/mail-password"
        "/home/alice/.ssh/id_work"
      ];
    };
  };
}
