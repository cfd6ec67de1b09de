# Installation at activation: whether by scripts or by units, and the scripts. The units are in
# units.nix.
{ environment, ... }:
{
  config,
  lib,
  options,
  ...
}:

let
  inherit (lib) mkIf mkOption types;

  cfg = config.sops;
  act = cfg.activation;
  wanted = set: set.secrets != { } || set.templates != { };
  # When the last secret is removed, an empty set takes away what an earlier generation installed.
  # Without a sops file there probably never was one, and the program is not needed.
  emptied = !wanted cfg.manifest.regular && options.sops.defaultSopsFile.isDefined;

  install =
    arguments:
    environment.shellCommand cfg.environment cfg.age.plugins "${cfg.package}/bin/sops-install-secrets ${arguments}";

  script =
    after: text:
    lib.stringAfter (after ++ lib.optional cfg.age.generateKey "generate-age-key") text
    // lib.optionalAttrs (config.system ? dryActivationScript) { supportsDryActivation = true; };

  # People order their own scripts by these names. NixOS does not warn about an empty script.
  nothing = lib.stringAfter [ ] "";
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
      # Passwords have to be there before users are created, so it is whoever creates users that
      # decides.
      usersByUnit =
        wanted cfg.manifest.users
        && (config.systemd.sysusers.enable or false || config.services.userborn.enable or false);
      inherit emptied;
      emptiedByUnit = emptied && cfg.useSystemdActivation;
    };

    system.activationScripts = {
      setupSecrets = mkIf (act.regular || emptied) (
        if cfg.useSystemdActivation then
          nothing
        else
          script
            [
              "specialfs"
              "users"
              "groups"
            ]
            (
              if act.regular then
                ''
                  [ -e /run/current-system ] || echo setting up secrets...
                  ${install config.system.build.sops-nix-manifest}
                ''
              else
                "[ ! -L /run/secrets ] || ${install config.system.build.sops-nix-manifest}\n"
            )
      );

      setupSecretsForUsers = mkIf act.users (
        if act.usersByUnit then
          nothing
        else
          script [ "specialfs" ] ''
            [ -e /run/current-system ] || echo setting up secrets for users...
            ${install "-ignore-passwd ${config.system.build.sops-nix-users-manifest}"}
          ''
      );

      users = mkIf (act.users && !act.usersByUnit) {
        deps = [ "setupSecretsForUsers" ];
      };

      # The program creates the key.
      generate-age-key = mkIf cfg.age.generateKey nothing;
    };
  };
}
