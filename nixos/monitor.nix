# A timer that looks whether everything that can boot has its secrets.
{ paths, ... }:
{ config, lib, ... }:

let
  inherit (lib) mkIf mkOption types;

  cfg = config.sops;
  inherit (cfg.initrd) monitor;
in
{
  options.sops.initrd.monitor = {
    enable = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether {command}`sops-initrd status --deep` runs regularly. The unit
        {file}`sops-initrd-status.service` fails when anything that can boot lacks its secrets, and
        the journal says what, and what repairs it. It changes nothing.
      '';
    };

    startAt = mkOption {
      type = types.str;
      default = "hourly";
      example = "*-*-* 06:00:00";
      description = "When it runs, as {manpage}`systemd.time(7)` has it.";
    };

    textfile = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = "/var/lib/prometheus-node-exporter/sops-initrd.prom";
      description = ''
        Where metrics are written as well, for the textfile collector of Prometheus' node exporter.
        The directory has to exist.
      '';
    };
  };

  config = mkIf (monitor.enable && cfg.initrd.active) {
    systemd.services.sops-initrd-status = {
      description = "Check that everything that can boot has its initrd secrets";
      inherit (monitor) startAt;
      serviceConfig = {
        Type = "oneshot";
        NoNewPrivileges = true;
        ExecStart = lib.concatStringsSep " " (
          [ "${cfg.initrd.package}/bin/sops-initrd status --deep" ]
          ++ map (boot: "--boot ${paths.systemdWord boot}") cfg.initrd.bootDirectories
          ++ lib.optional (monitor.textfile != null) "--prometheus ${paths.systemdWord monitor.textfile}"
        );
      };
    };
  };
}
