# The examples of README and docs, and those that users of the reference know.
{
  lib,
  evaluate,
  assets,
  ...
}:

let
  example = file: { imports = [ (../../../../docs/examples + "/${file}") ]; };
  # Examples name sops files of their reader.
  withFile = {
    sops.defaultSopsFile = lib.mkForce (assets + "/secrets.yaml");
  };
  known = {
    generated-key = {
      sops.age.generateKey = true;
      sops.secrets."service/sub/secret" = { };
    };
    owner =
      { config, ... }:
      {
        users.users.agent.group = "agent";
        sops.secrets.agent-token.owner = config.users.users.agent.name;
      };
    link-and-restart = {
      users.users.hass.group = "hass";
      sops.secrets."home-assistant.yaml" = {
        owner = "hass";
        path = "/var/lib/hass/secrets.yaml";
        restartUnits = [ "home-assistant.service" ];
      };
    };
    password =
      { config, ... }:
      {
        sops.secrets.alice-password.neededForUsers = true;
        users.users.alice = {
          isNormalUser = true;
          hashedPasswordFile = config.sops.secrets.alice-password.path;
        };
      };
    formats = {
      sops.secrets.github_token = {
        sopsFile = assets + "/secrets.json";
        format = "json";
      };
      sops.secrets.keytab = {
        sopsFile = assets + "/secrets.bin";
        format = "binary";
        mode = "0440";
      };
      sops.secrets.my-env = {
        sopsFile = assets + "/secrets.env";
        format = "dotenv";
      };
    };
    template =
      { config, ... }:
      {
        users.users.server.group = "server";
        sops.secrets."service/sub/secret" = { };
        sops.templates."server.env" = {
          content = "TOKEN=${config.sops.placeholder."service/sub/secret"}";
          owner = "server";
          restartUnits = [ "server.service" ];
        };
        systemd.services.server.serviceConfig.EnvironmentFile = config.sops.templates."server.env".path;
      };
  };

  ssh = evaluate {
    config = {
      imports = [
        (example "ssh-unlock.nix")
        withFile
      ];
    };
  };
in
{
  # The ways in which users of the reference write secrets, by its README: each alone, on a host
  # with an age key and no sshd.
  "as users of the reference write it: nothing is wrong" = {
    expr = lib.mapAttrs (
      _: config:
      let
        r = evaluate {
          loader = "none";
          sshd = false;
          config = {
            imports = [ config ];
            sops.defaultSopsFile = assets + "/secrets.yaml";
            sops.age.keyFile = "/var/lib/sops-nix/key.txt";
          };
        };
      in
      {
        inherit (r) faults warnings;
        hook = r.hook;
      }
    ) known;
    expected = lib.mapAttrs (_: _: {
      faults = [ ];
      warnings = [ ];
      hook = "the stock hook";
    }) known;
  };

  "as users of the reference write it: what the manifests say" = {
    expr =
      let
        r = evaluate {
          sshd = false;
          config = {
            imports = builtins.attrValues known;
            sops.defaultSopsFile = assets + "/secrets.yaml";
            sops.age.keyFile = "/var/lib/sops-nix/key.txt";
          };
        };
        summary = map (s: "${s.name} ${s.path} ${s.mode} ${toString s.owner}:${toString s.group} ${toString (s.format or "")} ${toString s.restartUnits}");
      in
      {
        inherit (r) faults;
        secrets = summary r.manifest.secrets;
        templates = summary r.manifest.templates;
        users = map (s: s.path) r.usersManifest.secrets;
        password = r.config.users.users.alice.hashedPasswordFile;
        keys = r.manifest.ageKeyFile;
        service = r.config.systemd.services.server.serviceConfig.EnvironmentFile;
      };
    expected = {
      faults = [ ];
      secrets = [
        "agent-token /run/secrets/agent-token 0400 agent:agent yaml "
        "github_token /run/secrets/github_token 0400 : json "
        "home-assistant.yaml /var/lib/hass/secrets.yaml 0400 hass:hass yaml home-assistant.service"
        "keytab /run/secrets/keytab 0440 : binary "
        "my-env /run/secrets/my-env 0400 : dotenv "
        "service/sub/secret /run/secrets/service/sub/secret 0400 : yaml "
      ];
      templates = [ "server.env /run/secrets/rendered/server.env 0400 server:server  server.service" ];
      users = [ "/run/secrets-for-users/alice-password" ];
      password = "/run/secrets-for-users/alice-password";
      keys = "/var/lib/sops-nix/key.txt";
      service = "/run/secrets/rendered/server.env";
    };
  };

  "ssh unlock: nothing is wrong" = {
    expr = {
      inherit (ssh) faults warnings;
    };
    expected = {
      faults = [ ];
      warnings = [ ];
    };
  };

  "ssh unlock: the host key and the key file are in the initrd" = {
    expr = ssh.config.sops.initrd.entries;
    expected = [
      {
        path = "/run/secrets/initrd-ssh-key";
        secret = "initrd-ssh-key";
        mode = "0400";
        uid = 0;
        gid = 0;
      }
    ];
  };

  "ssh unlock: sshd in stage 1 uses the delivered key" = {
    expr = ssh.config.boot.initrd.network.ssh.hostKeys;
    expected = [ "/run/secrets/initrd-ssh-key" ];
  };

  "ssh unlock: the key sources are those of the host" = {
    expr = {
      inherit (ssh.initrdManifest)
        version
        prefix
        ageSshKeyPaths
        sshKeyPaths
        ageKeyFile
        gnupgHome
        ;
    };
    expected = {
      version = 1;
      prefix = "/.initrd-secrets";
      ageSshKeyPaths = [ "/etc/ssh/ssh_host_ed25519_key" ];
      sshKeyPaths = [ "/etc/ssh/ssh_host_rsa_key" ];
      ageKeyFile = null;
      gnupgHome = null;
    };
  };
}
