# When secrets are installed: by home-manager's activation, and by a unit of the user's systemd at
# login, when the directory in memory is new and empty.
{ environment, ... }:
{
  config,
  lib,
  options,
  pkgs,
  ...
}:

let
  inherit (lib) mkIf;

  cfg = config.sops;
  inherit (pkgs.stdenv.hostPlatform) isLinux;
  wanted = isLinux && (cfg.secrets != { } || cfg.templates != { });
  # When the last secret is removed, an empty set takes away what an earlier generation installed.
  # Without a sops file there probably never was one, and the program is not needed.
  emptied = isLinux && !wanted && options.sops.defaultSopsFile.isDefined;
  unit = "sops-nix.service";
  systemctl = config.systemd.user.systemctlPath;

  # The variables are set here and not by the unit: activation and unit then do the same, and values
  # are taken literally by both.
  install = pkgs.writeTextFile {
    name = "sops-nix-user";
    executable = true;
    text = ''
      #!${pkgs.runtimeShell}
      ${environment.exports "" cfg.environment}${searchPath}
      exec ${cfg.package}/bin/sops-install-secrets -ignore-passwd ${cfg.manifest.file}
    '';
  };

  # systemctl for the units that secrets restart.
  searchPath = "export PATH=${
    lib.optionalString (cfg.age.plugins != [ ]) "${lib.makeBinPath cfg.age.plugins}:"
  }\${PATH:+$PATH:}${dirOf systemctl}";

  # At the boot of a NixOS home-manager runs before anybody is logged in. The directory in memory is
  # made at login, and what is in it goes with the session.
  atLogin = lib.optionalString config.systemd.user.enable ''
    elif [[ ! -S $sopsRuntimeDir/systemd/private && -d /run/systemd/system ]]; then
      noteEcho "No user is logged in: ${unit} installs the secrets at login."
  '';

  # The link to the secrets, in the shell.
  live = lib.concatMapStringsSep "$sopsRuntimeDir" lib.escapeShellArg (
    lib.splitString "%r" cfg.defaultSymlinkPath
  );

  # With gpg there may be something to be asked, once there is a screen to ask on.
  started =
    if cfg.gnupg.home != null then [ "graphical-session-pre.target" ] else [ "default.target" ];
in
{
  config = {
    sops.manifest.script = install;

    systemd.user.services.sops-nix = mkIf wanted {
      Unit.Description = "Installation of Secrets";
      Service = {
        Type = "oneshot";
        ExecStart = install;
      };
      Install.WantedBy = started;
    };

    # For units that are to start after secrets, even where one of many could not be installed.
    systemd.user.targets.sops-secrets = mkIf wanted {
      Unit = {
        Description = "Secrets";
        Wants = [ unit ];
        After = [ unit ];
      };
      Install.WantedBy = started;
    };

    # Before the new configuration's units are started, which want the new secrets; after the links,
    # one of which may be the configuration of gpg.
    home.activation.sops-nix = mkIf (wanted || emptied) (
      lib.hm.dag.entryBetween [ "reloadSystemd" ] [ "linkGeneration" ] ''
        sopsRuntimeDir=''${XDG_RUNTIME_DIR:-/run/user/$UID}
        ${lib.optionalString emptied "if [[ ! -d ${live} ]]; then\n  :\nel"}if [[ -v DRY_RUN ]]; then
          run ${install}
        ${atLogin}elif ! ${install}; then
          # The rest is activated, and home-manager fails in the end.
          eval "sopsAtExit=($(trap -p EXIT))"
          trap '
            errorEcho "Secrets could not be installed, see \"Activating sops-nix\" above"
            eval "''${sopsAtExit[2]-}"
            exit 1
          ' EXIT
        elif [[ -S $sopsRuntimeDir/systemd/private ]]; then
          # A failure at login is made good.
          XDG_RUNTIME_DIR=$sopsRuntimeDir ${systemctl} --user reset-failed ${unit} 2>/dev/null || true
        fi
        unset sopsRuntimeDir
      ''
    );
  };
}
