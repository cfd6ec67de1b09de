{ config, ... }:
{
  boot.initrd.availableKernelModules = [ "wireguard" ];

  sops.secrets.initrd-wireguard-key = {
    sopsFile = ../secrets/wireguard.yaml;
    initrd.only = true;
    initrd.mode = "0440";
    initrd.gid = config.boot.initrd.systemd.groups.systemd-network.gid;
  };

  boot.initrd.systemd.network = {
    netdevs."50-wg0" = {
      netdevConfig = {
        Kind = "wireguard";
        Name = "wg0";
      };
      wireguardConfig.PrivateKeyFile = config.sops.secrets.initrd-wireguard-key.path;
      wireguardPeers = [
        {
          PublicKey = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
          Endpoint = "vpn.example.org:51820";
          AllowedIPs = [ "10.100.0.0/24" ];
          PersistentKeepalive = 25;
        }
      ];
    };
    networks."50-wg0" = {
      matchConfig.Name = "wg0";
      address = [ "10.100.0.2/24" ];
    };
  };
}
