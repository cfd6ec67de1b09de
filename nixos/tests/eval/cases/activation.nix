# How secrets are installed at activation: by scripts or by units, in which order.
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
    sops.secrets.test_key = { };
    sops.secrets.password.neededForUsers = true;
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
  scripts = with' { } { };
  units = with' { users = "sysusers"; } { };

  ours =
    r:
    lib.filterAttrs (
      name: s: s.text != "" && (lib.hasInfix "ecrets" name || name == "generate-age-key")
    ) r.config.system.activationScripts;
  services =
    r: lib.filterAttrs (name: _: lib.hasPrefix "sops" name) r.config.systemd.services;
  ordering = unit: {
    inherit (unit)
      wantedBy
      requiredBy
      after
      before
      wants
      requires
      ;
  };
in
{
  "scripts: their names, order and dry runs" = {
    expr = lib.mapAttrs (_: s: {
      inherit (s) deps supportsDryActivation;
    }) (ours scripts);
    expected = {
      setupSecrets = {
        deps = [
          "specialfs"
          "users"
          "groups"
        ];
        supportsDryActivation = true;
      };
      setupSecretsForUsers = {
        deps = [ "specialfs" ];
        supportsDryActivation = true;
      };
    };
  };

  "scripts: users are made after their secrets" = {
    expr = scripts.config.system.activationScripts.users.deps;
    expected = [ "setupSecretsForUsers" ];
  };

  "scripts: what they run" = {
    expr = lib.mapAttrs (_: s: lib.splitString "\n" s.text) (ours scripts);
    expected =
      let
        inherit (scripts.config) sops system;
        environment = [
          "("
          "  export HOME=/var/empty"
          "  export PATH=''"
        ];
      in
      {
        setupSecrets = [
          "[ -e /run/current-system ] || echo setting up secrets..."
        ]
        ++ environment
        ++ [
          "  ${sops.package}/bin/sops-install-secrets ${system.build.sops-nix-manifest}"
          ")"
          ""
          ""
        ];
        setupSecretsForUsers = [
          "[ -e /run/current-system ] || echo setting up secrets for users..."
        ]
        ++ environment
        ++ [
          "  ${sops.package}/bin/sops-install-secrets -ignore-passwd ${system.build.sops-nix-users-manifest}"
          ")"
          ""
          ""
        ];
      };
  };

  "scripts: no units, but the targets" = {
    expr = {
      services = builtins.attrNames (services scripts);
      targets = lib.mapAttrs (_: ordering) scripts.config.systemd.targets;
    };
    expected = {
      services = [ ];
      targets = {
        sops-secrets = {
          wantedBy = [ "sysinit.target" ];
          requiredBy = [ ];
          wants = [ ];
          requires = [ ];
          after = [ ];
          before = [ "sysinit.target" ];
        };
        sops-secrets-for-users = {
          wantedBy = [ "sysinit.target" ];
          requiredBy = [ ];
          wants = [ ];
          requires = [ ];
          after = [ ];
          before = [
            "systemd-sysusers.service"
            "userborn.service"
            "sysinit.target"
          ];
        };
      };
    };
  };

  "scripts: the environment and the plugins" = {
    expr =
      let
        text =
          (with' { } {
            sops.environment.SOPS_AGE_KEY_CMD = "it's $(x) 5%";
            sops.age.plugins = [ pkgs.age-plugin-tpm ];
          }).config.system.activationScripts.setupSecrets.text;
      in
      builtins.filter (lib.hasPrefix "  export") (lib.splitString "\n" text);
    expected = [
      "  export HOME=/var/empty"
      "  export PATH=${pkgs.age-plugin-tpm}/bin"
      "  export SOPS_AGE_KEY_CMD='it'\\''s $(x) 5%'"
    ];
  };

  "units: on by default with systemd-sysusers and with userborn" = {
    expr =
      map
        (
          users:
          let
            r = with' { inherit users; } { };
          in
          {
            inherit (r.config.sops) useSystemdActivation;
            services = builtins.attrNames (services r);
            scripts = builtins.attrNames (ours r);
            # A script that is not there must not be waited for.
            users = (r.config.system.activationScripts.users or { deps = [ ]; }).deps;
          }
        )
        [
          "sysusers"
          "userborn"
        ];
    expected =
      let
        same = {
          useSystemdActivation = true;
          services = [
            "sops-install-secrets"
            "sops-install-secrets-for-users"
          ];
          scripts = [ ];
          users = [ ];
        };
      in
      [
        same
        same
      ];
  };

  "units: their order" = {
    expr = lib.mapAttrs (_: ordering) (services units);
    expected = {
      sops-install-secrets = {
        wantedBy = [
          "sysinit.target"
          "sysinit-reactivation.target"
        ];
        requiredBy = [ ];
        wants = [ ];
        requires = [ ];
        after = [
          "local-fs.target"
          "systemd-sysusers.service"
          "userborn.service"
        ];
        before = [
          "sysinit.target"
          "sysinit-reactivation.target"
          "sops-secrets.target"
          "shutdown.target"
        ];
      };
      sops-install-secrets-for-users = {
        wantedBy = [
          "systemd-sysusers.service"
          "sysinit-reactivation.target"
        ];
        requiredBy = [ ];
        wants = [ ];
        requires = [ ];
        after = [ ];
        before = [
          "systemd-sysusers.service"
          "userborn.service"
          "sysinit.target"
          "sysinit-reactivation.target"
          "sops-secrets-for-users.target"
          "shutdown.target"
        ];
      };
    };
  };

  "units: the targets want them, so that one bad secret fails nobody else" = {
    expr = lib.mapAttrs (_: t: {
      inherit (t) wants requires after;
    }) units.config.systemd.targets;
    expected = {
      sops-secrets = {
        wants = [ "sops-install-secrets.service" ];
        requires = [ ];
        after = [ "sops-install-secrets.service" ];
      };
      sops-secrets-for-users = {
        wants = [ "sops-install-secrets-for-users.service" ];
        requires = [ ];
        after = [ "sops-install-secrets-for-users.service" ];
      };
    };
  };

  "units: what they run" = {
    expr =
      let
        r = with' { users = "sysusers"; } {
          sops.environment.A = "50%";
          sops.age.plugins = [ pkgs.age-plugin-tpm ];
        };
      in
      lib.mapAttrs (_: s: {
        inherit (s) environment serviceConfig;
        path = map (p: p.name) s.path;
        inherit (s.unitConfig) DefaultDependencies;
      }) (services r);
    expected =
      let
        inherit (units.config) sops system;
        service = command: {
          environment = {
            A = "50%%";
            HOME = "/var/empty";
            SOPS_RESTART_UNITS_VIA_SYSTEMCTL = "1";
          };
          path = [ "age-plugin-tpm" ];
          DefaultDependencies = "no";
          serviceConfig = {
            Type = "oneshot";
            RemainAfterExit = true;
            ExecStart = [ "${sops.package}/bin/sops-install-secrets ${command}" ];
            UMask = "0022";
            NotifyAccess = "main";
            NoNewPrivileges = true;
            LimitCORE = 0;
            LockPersonality = true;
            RestrictAddressFamilies = [
              "AF_UNIX"
              "AF_INET"
              "AF_INET6"
              "AF_NETLINK"
            ];
          };
        };
      in
      {
        sops-install-secrets = service "${system.build.sops-nix-manifest}";
        sops-install-secrets-for-users = service "-ignore-passwd ${system.build.sops-nix-users-manifest}";
      };
  };

  "units: empty scripts of the same names, for whoever orders by them" = {
    expr = lib.mapAttrs (_: s: { inherit (s) deps text; }) (
      lib.filterAttrs (name: _: lib.hasInfix "ecrets" name || name == "other")
        (with' { users = "sysusers"; } {
          system.activationScripts.other.deps = [ "setupSecrets" ];
        }).config.system.activationScripts
    );
    expected =
      lib.genAttrs
        [
          "setupSecrets"
          "setupSecretsForUsers"
        ]
        (_: {
          deps = [ ];
          text = "";
        })
      // {
        other = {
          deps = [ "setupSecrets" ];
          text = "";
        };
      };
  };

  "units: a sops file outside of the store is read at every switch" = {
    expr =
      lib.mapAttrs (_: s: s.serviceConfig.RemainAfterExit)
        (services (
          with' { users = "sysusers"; } {
            sops.validateSopsFiles = false;
            sops.secrets.test_key.sopsFile = "/etc/nixos/secrets.yaml";
          }
        ));
    expected = {
      sops-install-secrets = false;
      sops-install-secrets-for-users = true;
    };
  };

  "units: on by default from 26.11 on, whoever makes users, unless said otherwise" = {
    expr =
      map
        (
          { release, config }:
          (with' { inherit release; } config).config.sops.useSystemdActivation
        )
        [
          { release = "25.11"; config = { }; }
          { release = "26.05"; config = { }; }
          { release = "26.11"; config = { }; }
          { release = "27.05"; config = { }; }
          { release = "26.11"; config.sops.useSystemdActivation = false; }
        ];
    expected = [
      false
      false
      true
      true
      false
    ];
  };

  "a Nix path in the environment is a path on the host" = {
    expr =
      let
        r = with' { } { sops.environment.GOOGLE_APPLICATION_CREDENTIALS = /root/gcp.json; };
      in
      [
        r.config.sops.environment.GOOGLE_APPLICATION_CREDENTIALS
        (builtins.getContext r.config.system.activationScripts.setupSecrets.text ? "/root/gcp.json")
      ];
    expected = [
      "/root/gcp.json"
      false
    ];
  };

  "units: keys and sops files outside of the store are mounted first" = {
    expr =
      let
        r = with' { users = "sysusers"; } {
          sops.validateSopsFiles = false;
          sops.secrets.test_key.sopsFile = "/persist/secrets%1.yaml";
          sops.age.keyFile = "/persist/a key.txt";
        };
      in
      lib.mapAttrs (_: s: s.unitConfig.RequiresMountsFor or null) (services r);
    expected = {
      sops-install-secrets = [
        "/etc/ssh/ssh_host_rsa_key"
        "\"/persist/a key.txt\""
        "/etc/ssh/ssh_host_ed25519_key"
        "/persist/secrets%%1.yaml"
      ];
      # It would be in a cycle with what makes mount points.
      sops-install-secrets-for-users = null;
    };
  };

  "units: a gnupg home is mounted first" = {
    expr =
      (with' { users = "sysusers"; } {
        sops.gnupg.home = "/persist/gnupg";
        sops.gnupg.sshKeyPaths = [ ];
      }).config.systemd.services.sops-install-secrets.unitConfig.RequiresMountsFor;
    expected = [
      "/persist/gnupg"
      "/etc/ssh/ssh_host_ed25519_key"
    ];
  };

  "units: userborn runs again for new passwords" = {
    expr =
      let
        r = with' { users = "userborn"; } { };
      in
      map (t: "${t}") r.config.systemd.services.userborn.restartTriggers
      == [ "${r.config.system.build.sops-nix-users-manifest}" ];
    expected = true;
  };

  "units: nothing is added to userborn where it is not used, or has no secrets" = {
    expr = [
      (units.config.systemd.services ? userborn)
      ((evaluate {
        users = "userborn";
        config.sops.defaultSopsFile = assets + "/secrets.yaml";
        config.sops.secrets.test_key = { };
      }).config.systemd.services ? userborn)
    ];
    expected = [
      false
      false
    ];
  };

  "units on request: those for users stay with whoever makes users" = {
    expr =
      let
        r = with' { } { sops.useSystemdActivation = true; };
      in
      {
        services = builtins.attrNames (services r);
        scripts = builtins.attrNames (ours r);
        inherit (r.config.systemd.targets.sops-secrets) wants;
        usersWants = r.config.systemd.targets.sops-secrets-for-users.wants;
        users = r.config.system.activationScripts.users.deps;
      };
    expected = {
      services = [ "sops-install-secrets" ];
      scripts = [ "setupSecretsForUsers" ];
      wants = [ "sops-install-secrets.service" ];
      usersWants = [ ];
      users = [ "setupSecretsForUsers" ];
    };
  };

  "scripts on request: those for users stay with whoever makes users" = {
    expr =
      let
        r = with' { users = "userborn"; } { sops.useSystemdActivation = false; };
      in
      {
        services = builtins.attrNames (services r);
        scripts = builtins.attrNames (ours r);
      };
    expected = {
      services = [ "sops-install-secrets-for-users" ];
      scripts = [ "setupSecrets" ];
    };
  };

  "generateKey: the program creates the key; an empty script for who orders by its name" = {
    expr =
      map
        (
          users:
          let
            r = with' { inherit users; } {
              sops.age.keyFile = "/var/lib/sops nix/key.txt";
              sops.age.generateKey = true;
            };
          in
          {
            script = r.config.system.activationScripts.generate-age-key.text;
            asked = map (m: [ m.generateAgeKey m.ageKeyFile ]) [
              r.manifest
              r.usersManifest
            ];
            units = lib.mapAttrsToList (_: s: s.preStart) (services r);
          }
        )
        [
          "scripts"
          "sysusers"
        ];
    expected =
      let
        asked = [
          [ true "/var/lib/sops nix/key.txt" ]
          [ true "/var/lib/sops nix/key.txt" ]
        ];
      in
      [
        {
          script = "";
          inherit asked;
          units = [ ];
        }
        {
          script = "";
          inherit asked;
          units = [ "" "" ];
        }
      ];
  };

  "generateKey: with templates alone" = {
    expr =
      let
        scripts =
          (evaluate {
            config.sops = {
              age.keyFile = "/key";
              age.generateKey = true;
              templates.t.content = "x";
            };
          }).config.system.activationScripts;
      in
      builtins.all (dep: scripts ? ${dep}) scripts.setupSecrets.deps;
    expected = true;
  };

  "only templates, only secrets for users, only secrets for the initrd" = {
    expr =
      map (sops: builtins.attrNames (ours (evaluate { config = { inherit sops; }; })))
        [
          { templates.t.content = "x"; }
          {
            secrets.password = {
              neededForUsers = true;
              sopsFile = assets + "/secrets.yaml";
            };
          }
          {
            secrets.luks = {
              initrd.only = true;
              sopsFile = assets + "/secrets.yaml";
            };
          }
        ];
    expected = [
      [ "setupSecrets" ]
      [ "setupSecretsForUsers" ]
      [ ]
    ];
  };

  # What an earlier generation installed goes: the manifest is an empty one.
  "the last secret is removed" = {
    expr =
      let
        emptied =
          useSystemdActivation:
          evaluate {
            config.sops = {
              defaultSopsFile = assets + "/secrets.yaml";
              inherit useSystemdActivation;
            };
          };
        program = r: "${r.config.sops.package}/bin/sops-install-secrets ${r.config.system.build.sops-nix-manifest}";
        script = emptied false;
        unit = (emptied true).config.systemd.services.sops-install-secrets;
      in
      {
        script = map (part: lib.hasInfix part (ours script).setupSecrets.text) [
          "[ ! -L /run/secrets ] || ("
          (program script)
        ];
        scriptsBesideUnit = ours (emptied true);
        condition = unit.unitConfig.ConditionPathIsSymbolicLink;
        runs = unit.serviceConfig.ExecStart == [ (program (emptied true)) ];
        # Nothing of it where only the module is imported.
        imported = ours (evaluate { config = { }; });
      };
    expected = {
      script = [
        true
        true
      ];
      scriptsBesideUnit = { };
      condition = "/run/secrets";
      runs = true;
      imported = { };
    };
  };
}
