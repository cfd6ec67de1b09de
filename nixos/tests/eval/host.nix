# A host as its owner would write it: unlocked over SSH or by a key file, a WireGuard key for stage
# 1, a password, a service.
{ config, ... }:
{
  imports = [ ../../../docs/examples/ssh-unlock.nix ];

  sops.secrets = {
    # Nothing in the running system needs the key that unlocked it, nor the one of the tunnel of
    # stage 1.
    luks.initrd.only = true;
    wireguard.initrd = {
      only = true;
      path = "/run/wireguard/key";
      mode = "0440";
      gid = 152; # systemd-network
    };
    test_key.neededForUsers = true;
    "nested/test/file" = {
      owner = "app";
      mode = "0440";
      path = "/var/lib/app/password";
      restartUnits = [ "web.service" ];
    };
    initrd-ssh-key.restartUnits = [ "other.service" ];
  };
  sops.templates = {
    "wg0.netdev" = {
      content = ''
        [NetDev]
        Name=wg0
        Kind=wireguard

        [WireGuard]
        PrivateKey=${config.sops.placeholder.wireguard}

        [WireGuardPeer]
        PublicKey=Fx4m7gk7ppXX61m9yMaT72JxEK3i2KCbNU3rCua5sE4=
        Endpoint=192.0.2.1:51820
        AllowedIPs=10.100.0.0/24
      '';
      initrd = {
        only = true;
        path = "/etc/systemd/network/wg0.netdev";
        mode = "0640";
        uid = 152;
        gid = 152;
      };
    };
    "app.conf" = {
      content = "password=${config.sops.placeholder."nested/test/file"}";
      owner = "app";
      reloadUnits = [ "proxy.service" ];
    };
  };

  # A service without a user of its own that gets its secret as a credential, one that reads its
  # configuration again when it is told to, and one with nothing but a secret that seldom changes.
  # Each leaves a digest of what it saw.
  systemd.services = {
    web = {
      wantedBy = [ "multi-user.target" ];
      serviceConfig = {
        DynamicUser = true;
        RuntimeDirectory = "web";
        LoadCredential = "password:${config.sops.secrets."nested/test/file".path}";
        ExecStart = "/bin/sh -c 'sha256sum < %d/password > %t/web/seen; sleep infinity'";
      };
    };
    proxy = {
      wantedBy = [ "multi-user.target" ];
      serviceConfig = {
        User = "app";
        RuntimeDirectory = "proxy";
        ExecStart = "/bin/sh -c 'sha256sum < ${config.sops.templates."app.conf".path} > %t/proxy/seen; sleep infinity'";
        ExecReload = "/bin/sh -c 'sha256sum < ${config.sops.templates."app.conf".path} > %t/proxy/reloaded'";
      };
    };
    other = {
      wantedBy = [ "multi-user.target" ];
      serviceConfig = {
        RuntimeDirectory = "other";
        ExecStart = "/bin/sh -c 'sha256sum < ${config.sops.secrets.initrd-ssh-key.path} > %t/other/seen; sleep infinity'";
      };
    };
  };

  boot.initrd.luks.devices.root.keyFile = config.sops.secrets.luks.path;
  # Another module's file, which the hook has to bring as well.
  boot.initrd.secrets."/etc/iscsi/chap" = "/var/lib/iscsi/chap";

  users.users.app = {
    uid = 1000;
    group = "app";
    hashedPasswordFile = config.sops.secrets.test_key.path;
  };
  users.groups.app.gid = 1000;
}
