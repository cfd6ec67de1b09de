# Installation at activation: whether by scripts or by units, and the scripts. The units are in
# units.nix.
{ environment, ... }:
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib) mkIf mkOption types;

  cfg = config.sops;
  wanted = set: set.secrets != { } || set.templates != { };

  install =
    arguments:
    environment.shellCommand cfg.environment cfg.age.plugins "${cfg.package}/bin/sops-install-secrets ${arguments}";

  script =
    after: text:
    lib.stringAfter (after ++ lib.optional cfg.age.generateKey "generate-age-key") text
    // lib.optionalAttrs (config.system ? dryActivationScript) { supportsDryActivation = true; };

  # People order their own scripts by these names. NixOS does not warn about an empty script.
  nothing = lib.stringAfter [ ] "";

  keyFile = lib.escapeShellArg cfg.age.keyFile;
  generateKey = ''
    if [[ ! -f ${keyFile} ]]; then
      echo generating machine-specific age key...
      mkdir -p "$(dirname ${keyFile})"
      # Under another name first, so that neither a crash nor a full disk leaves half of a key.
      # age-keygen makes the file with mode 0600.
      rm -f ${keyFile}.new
      ${pkgs.age}/bin/age-keygen -o ${keyFile}.new && sync ${keyFile}.new && mv ${keyFile}.new ${keyFile}
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
      # Passwords have to be there before users are created, so it is whoever creates users that
      # decides.
      usersByUnit =
        wanted cfg.manifest.users
        && (config.systemd.sysusers.enable or false || config.services.userborn.enable or false);
      inherit generateKey;
    };

    system.activationScripts = {
      setupSecrets = mkIf cfg.activation.regular (
        if cfg.activation.regularByUnit then
          nothing
        else
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

      setupSecretsForUsers = mkIf cfg.activation.users (
        if cfg.activation.usersByUnit then
          nothing
        else
          script [ "specialfs" ] ''
            [ -e /run/current-system ] || echo setting up secrets for users...
            ${install "-ignore-passwd ${config.system.build.sops-nix-users-manifest}"}
          ''
      );

      users = mkIf (cfg.activation.users && !cfg.activation.usersByUnit) {
        deps = [ "setupSecretsForUsers" ];
      };

      # It exists in every mode: people order their own scripts by it. The units make the key once
      # more, when the file systems of the running system are mounted.
      generate-age-key = mkIf cfg.age.generateKey (lib.stringAfter [ ] generateKey);
    };
  };
}
