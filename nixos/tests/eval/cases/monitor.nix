# The timer that looks whether everything that can boot has its secrets.
{
  lib,
  evaluate,
  assets,
  ...
}:

let
  service =
    machine: config:
    (evaluate (
      machine
      // {
        config.imports = [
          {
            sops.defaultSopsFile = assets + "/secrets.yaml";
            sops.secrets.test_key.neededForInitrd = lib.mkDefault true;
            sops.initrd.monitor.enable = lib.mkDefault true;
          }
          config
        ];
      }
    )).config.systemd.services.sops-initrd-status or null;
  command = s: lib.last (lib.splitString "/bin/" s.serviceConfig.ExecStart);
in
{
  "it runs every hour, over where the boot loader has its entries" = {
    expr = {
      inherit (service { } { }) startAt;
      commands = map command [
        (service { } { })
        (service { } { boot.loader.efi.efiSysMountPoint = "/efi"; })
        (service { } { boot.loader.systemd-boot.xbootldrMountPoint = "/xboot"; })
        (service { loader = "grub"; } {
          boot.loader.grub.mirroredBoots = lib.mkForce [
            { path = "/boot 1"; }
            { path = "/boot%2"; }
          ];
        })
        (service { } { sops.initrd.monitor.textfile = "/var/lib/exporter/sops-initrd.prom"; })
      ];
    };
    expected = {
      startAt = "hourly";
      commands = map (arguments: "sops-initrd status --deep ${arguments}") [
        "--boot /boot"
        "--boot /efi"
        "--boot /xboot"
        "--boot \"/boot 1\" --boot /boot%%2"
        "--boot /boot --prometheus /var/lib/exporter/sops-initrd.prom"
      ];
    };
  };

  "without it, or without initrd secrets, there is no unit" = {
    expr = [
      (service { } { sops.initrd.monitor.enable = false; })
      (service { } { sops.secrets.test_key.neededForInitrd = false; })
    ];
    expected = [
      null
      null
    ];
  };
}
