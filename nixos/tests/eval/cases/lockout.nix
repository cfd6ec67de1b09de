# What the guard against lockouts is told.
{
  evaluate,
  assets,
  pkgs,
  ...
}:

let
  with' =
    config:
    evaluate {
      config.imports = [
        {
          sops.defaultSopsFile = assets + "/secrets.yaml";
          sops.secrets.luks.neededForInitrd = true;
        }
        config
      ];
    };
  opened = {
    boot.initrd.luks.devices.root = {
      device = "/dev/disk/by-label/root";
      keyFile = "/run/secrets/luks";
    };
  };
  root = {
    name = "root";
    device = "/dev/disk/by-label/root";
    keyFile = "/run/secrets/luks";
  };
in
{
  "a guard knows what stage 1 opens, with which key" = {
    expr = (with' opened).initrdManifest.stageOne;
    expected = {
      luks = [ root ];
      cryptsetup = builtins.unsafeDiscardStringContext "${pkgs.cryptsetup}/bin/cryptsetup";
    };
  };

  "a guard that is off is told nothing" = {
    expr =
      let
        off = with' {
          imports = [ opened ];
          sops.lockoutGuard = "off";
        };
      in
      {
        told = off.initrdManifest ? stageOne;
        said = builtins.match ".*--lockout-guard off .*" off.hook != null;
      };
    expected = {
      told = false;
      said = true;
    };
  };

  "a guard that stops the switch is one in the hook" = {
    expr = builtins.match ".*--lockout-guard fail .*" (with' { sops.lockoutGuard = "fail"; }).hook != null;
    expected = true;
  };

  "a guard does not judge keys that come from elsewhere" = {
    expr =
      (with' {
        boot.initrd.luks.devices.root = {
          device = "/dev/disk/by-label/root";
          keyFile = "/dev/disk/by-label/stick";
        };
        boot.initrd.systemd.network.netdevs."10-wg".wireguardConfig.PrivateKeyFile = "/etc/wg.key";
      }).initrdManifest ? stageOne;
    expected = false;
  };

  "a guard knows the WireGuard keys, and who may log in" = {
    expr =
      (with' {
        boot.initrd.systemd.network.netdevs."10-wg".wireguardConfig.PrivateKeyFile = "/run/secrets/luks";
        boot.initrd.network.enable = true;
        boot.initrd.network.ssh = {
          enable = true;
          authorizedKeys = [ "ssh-ed25519 AAAA" ];
        };
      }).initrdManifest.stageOne;
    expected = {
      wireguardKeys = [ "/run/secrets/luks" ];
      authorizedKeys = [ "ssh-ed25519 AAAA" ];
    };
  };
}
