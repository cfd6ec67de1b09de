# What stage 1 does with its secrets, so that installing the boot loader can try whether it would
# still let its owner in.
{ paths, ... }:
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib) mkOption types;

  cfg = config.sops;
  initrd = config.boot.initrd;

  # What comes into stage 1 another way is not known here.
  known = lib.genAttrs (lib.catAttrs "path" cfg.initrd.entries) (_: null);
  isKnown = path: path != null && known ? ${paths.clean (paths.plain path)};

  luks = lib.concatLists (
    lib.mapAttrsToList (
      name: device:
      lib.optional (isKnown (device.keyFile or null)) (
        {
          inherit name;
          inherit (device) device;
          keyFile = paths.clean (paths.plain device.keyFile);
        }
        // lib.filterAttrs (_: v: v != null) {
          keyFileSize = device.keyFileSize or null;
          keyFileOffset = device.keyFileOffset or null;
          header = device.header or null;
        }
      )
    ) (initrd.luks.devices or { })
  );

  wireguardKeys = map (path: paths.clean (paths.plain path)) (
    builtins.filter isKnown (
      lib.concatMap (
        netdev:
        [ (netdev.wireguardConfig.PrivateKeyFile or null) ]
        ++ map (peer: (peer.wireguardPeerConfig or peer).PresharedKeyFile or null) (
          netdev.wireguardPeers or [ ]
        )
      ) (builtins.attrValues (initrd.systemd.network.netdevs or { }))
    )
  );

  # Files of keys may have to be built first.
  ssh = initrd.network.ssh or { };
  sshKnown =
    (initrd.network.enable or false) && (ssh.enable or false) && (ssh.authorizedKeyFiles or [ ]) == [ ];
in
{
  options.sops.lockoutGuard = mkOption {
    type = types.enum [
      "warn"
      "fail"
      "off"
    ];
    default = "warn";
    description = ''
      What happens when stage 1 of the generation that becomes the default would not let its owner
      in: a key file of {option}`boot.initrd.luks.devices` opens no slot of its device, a WireGuard
      key is none, or sshd has no authorized key. `warn` says so and goes on; `fail` stops
      installing the boot loader before that initrd is written; `off` does not look.

      What cannot be tried, such as a device that is not there, is no reason to stop.
    '';
  };

  options.sops.initrd.stageOne = mkOption {
    type = types.attrsOf types.unspecified;
    internal = true;
    readOnly = true;
    default =
      lib.optionalAttrs (luks != [ ]) {
        inherit luks;
        cryptsetup = "${pkgs.cryptsetup}/bin/cryptsetup";
      }
      // lib.optionalAttrs (wireguardKeys != [ ]) { inherit wireguardKeys; }
      // lib.optionalAttrs sshKnown { inherit (ssh) authorizedKeys; };
    description = "What the guard tries.";
  };
}
