# A host as its owner would write it: unlocked over SSH or by a key file, a WireGuard key for stage 1, a password, a service.
{ config, ... }:
{
  imports = [ ../../../docs/examples/ssh-unlock.nix ];

  sops.secrets = {
    luks.neededForInitrd = true;
    wireguard = { };
    test_key.neededForUsers = true;
    "nested/test/file" = {
      owner = "app";
      mode = "0440";
      path = "/var/lib/app/password";
    };
  };
  sops.templates = {
    "wg0.netdev" = {
      content = ''
        [WireGuard]
        PrivateKey=${config.sops.placeholder.wireguard}
      '';
      neededForInitrd = true;
      initrd = {
        path = "/etc/systemd/network/wg0.netdev";
        mode = "0440";
        uid = 152;
        gid = 152;
      };
    };
    "app.conf" = {
      content = "password=${config.sops.placeholder."nested/test/file"}";
      owner = "app";
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
