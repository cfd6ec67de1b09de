# Installation at activation: whether by scripts or by units, and the scripts. The units are in units.nix.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib) mkIf mkOption types;

  cfg = config.sops;
  withEnvironment = import ./command.nix { inherit lib; };
  wanted = set: set.secrets != { } || set.templates != { };

  install =
    arguments:
    withEnvironment (
      cfg.environment
      // {
        # sops looks for keys below the home directory. There is none here.
        HOME = "/var/empty";
        PATH = lib.makeBinPath cfg.age.plugins;
      }
    ) "${cfg.package}/bin/sops-install-secrets ${arguments}";

  script =
    after: text:
    lib.stringAfter (after ++ lib.optional cfg.age.generateKey "generate-age-key") text
    // lib.optionalAttrs (config.system ? dryActivationScript) { supportsDryActivation = true; };

  keyFile = lib.escapeShellArg cfg.age.keyFile;
  generateKey = ''
    if [[ ! -f ${keyFile} ]]; then
      echo generating machine-specific age key...
      mkdir -p "$(dirname ${keyFile})"
      # Under another name first, so that a crash leaves no half of a key. age-keygen makes the file with mode 0600.
      rm -f ${keyFile}.new
      ${pkgs.age}/bin/age-keygen -o ${keyFile}.new
      sync ${keyFile}.new
      mv ${keyFile}.new ${keyFile}
    fi
  '';
in
{
  options.sops.activation = mkOption {
    type = types.attrsOf types.unspecified;
    internal = true;
    readOnly = true;
    description = "How secrets are installed at activation: decided here, once.";
  };

  config = {
    sops.activation = {
      regular = wanted cfg.manifest.regular;
      regularByUnit = wanted cfg.manifest.regular && cfg.useSystemdActivation;
      users = wanted cfg.manifest.users;
      # Passwords have to be there before users are made, so it is whoever makes users that decides.
      usersByUnit =
        wanted cfg.manifest.users
        && (config.systemd.sysusers.enable or false || config.services.userborn.enable or false);
      inherit generateKey;
    };

    system.activationScripts = {
      setupSecrets = mkIf (cfg.activation.regular && !cfg.activation.regularByUnit) (
        script
          [
            "specialfs"
            "users"
            "groups"
          ]
          ''
            [ -e /run/current-system ] || echo setting up secrets...
            ${install config.system.build.sops-nix-manifest}
          ''
      );

      setupSecretsForUsers = mkIf (cfg.activation.users && !cfg.activation.usersByUnit) (
        script [ "specialfs" ] ''
          [ -e /run/current-system ] || echo setting up secrets for users...
          ${install "-ignore-passwd ${config.system.build.sops-nix-users-manifest}"}
        ''
      );

      users = mkIf (cfg.activation.users && !cfg.activation.usersByUnit) {
        deps = [ "setupSecretsForUsers" ];
      };

      # It exists in every mode: people order their own scripts by it. The units make the key once more, when the file systems
      # of the running system are mounted.
      generate-age-key = mkIf (cfg.age.generateKey && cfg.secrets != { }) (
        lib.stringAfter [ ] generateKey
      );
    };
  };
}
