# The units that install secrets, and the targets that other units order themselves by.
{ environment, paths, ... }:
{ config, lib, ... }:

let
  inherit (lib) mkIf mkMerge optional;

  cfg = config.sops;
  act = cfg.activation;

  # What has to be mounted before secrets can be decrypted: keys, and sops files that are not in the
  # store.
  readPaths =
    secrets:
    map (path: paths.systemdWord (paths.plain path)) (lib.unique (
      optional (cfg.gnupg.home != null) cfg.gnupg.home
      ++ cfg.gnupg.sshKeyPaths
      ++ optional (cfg.age.keyFile != null) cfg.age.keyFile
      ++ cfg.age.sshKeyPaths
      ++ builtins.filter (file: !paths.endsInStore file) (
        map (s: s.sopsFile) (builtins.attrValues secrets)
      )
    ));

  installer = secrets: arguments: {
    environment = environment.unit cfg.environment // {
      # There is no switch-to-configuration that would restart units afterwards, when a unit
      # installs secrets.
      SOPS_RESTART_UNITS_VIA_SYSTEMCTL = "1";
    };
    path = cfg.age.plugins;
    unitConfig = {
      # It runs before basic.target, which default dependencies would wait for.
      DefaultDependencies = "no";
    };
    # Default dependencies would say this.
    conflicts = [ "shutdown.target" ];
    serviceConfig = {
      Type = "oneshot";
      # systemctl status shows what it waits for: a key program, say.
      NotifyAccess = "main";
      # A switch does not start a unit again that is active and unchanged, but a sops file outside
      # of the store may have changed.
      RemainAfterExit = lib.all (s: paths.endsInStore s.sopsFile) (builtins.attrValues secrets);
      ExecStart = [ "${cfg.package}/bin/sops-install-secrets ${arguments}" ];
      # It has to be root, mount and change owners; this is what it never needs. Directories above a
      # secret's own path are for everybody.
      UMask = "0022";
      NoNewPrivileges = true;
      LimitCORE = 0;
      LockPersonality = true;
      # Agents, systemd, and key services.
      RestrictAddressFamilies = [
        "AF_UNIX"
        "AF_INET"
        "AF_INET6"
        "AF_NETLINK"
      ];
    };
  };

  # Reached when an installation was tried. It *wants* the unit: units that require the target still
  # start when one secret of many could not be installed.
  target =
    { byUnit, service }:
    {
      unitConfig.DefaultDependencies = "no";
      wants = optional byUnit service;
      after = optional byUnit service;
      wantedBy = [ "sysinit.target" ];
    };
in
{
  systemd.services = {
    sops-install-secrets = mkIf (act.regularByUnit || act.emptiedByUnit) (mkMerge [
      (mkIf act.emptied { unitConfig.ConditionPathIsSymbolicLink = "/run/secrets"; })
      (installer cfg.manifest.regular.secrets "${config.system.build.sops-nix-manifest}")
      {
        description = "Installation of Secrets";
        # Without it, a key on a file system of its own (/persist, /home) may not be there yet. The
        # unit for users comes before anything is mounted, and would be in a cycle: assertions.nix
        # wants such a file system mounted in stage 1.
        unitConfig.RequiresMountsFor = readPaths cfg.manifest.regular.secrets;
        wantedBy = [
          "sysinit.target"
          # A switch runs it before the units that use the secrets are restarted. With requiredBy,
          # one bad secret would fail the whole target.
          "sysinit-reactivation.target"
        ];
        after = [
          # The root file system is writable only then.
          "local-fs.target"
          # The owners of secrets have to exist.
          "systemd-sysusers.service"
          "userborn.service"
        ];
        before = [
          # Every ordinary unit is ordered after sysinit.target, and so finds its secrets.
          "sysinit.target"
          "sysinit-reactivation.target"
          "sops-secrets.target"
          "shutdown.target"
        ];
      }
    ]);

    sops-install-secrets-for-users = mkIf act.usersByUnit (mkMerge [
      (installer cfg.manifest.users.secrets "-ignore-passwd ${config.system.build.sops-nix-users-manifest}")
      {
        description = "Installation of Secrets for Users";
        wantedBy = [
          "systemd-sysusers.service"
          "sysinit-reactivation.target"
        ];
        before = [
          # They read the password files. userborn.service is also called systemd-sysusers.service.
          "systemd-sysusers.service"
          "userborn.service"
          "sysinit.target"
          "sysinit-reactivation.target"
          "sops-secrets-for-users.target"
          "shutdown.target"
        ];
      }
    ]);

    # A new password hash reaches the user database only when userborn runs again.
    userborn = mkIf (act.usersByUnit && config.services.userborn.enable or false) {
      restartTriggers = [ config.system.build.sops-nix-users-manifest ];
    };
  };

  systemd.targets = {
    sops-secrets = target {
      byUnit = act.regularByUnit;
      service = "sops-install-secrets.service";
    } // {
      description = "Secrets";
      before = [ "sysinit.target" ];
    };

    sops-secrets-for-users = target {
      byUnit = act.usersByUnit;
      service = "sops-install-secrets-for-users.service";
    } // {
      description = "Secrets for Users";
      before = [
        "systemd-sysusers.service"
        "userborn.service"
        "sysinit.target"
      ];
    };
  };
}
