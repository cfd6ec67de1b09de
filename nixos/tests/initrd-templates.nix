# A template in the initrd, with an owner of stage 1; one that only stage 1 has; and one below /run
# that is removed.
{
  nodes.machine =
    { nodes, ... }:
    {
      imports = [ ./common/boot.nix ];
      boot.loader.systemd-boot.enable = true;
      system.extraDependencies = [ nodes.templates.system.build.toplevel ];
    };

  nodes.templates =
    { config, ... }:
    {
      imports = [ ./common/boot.nix ];
      boot.loader.systemd-boot.enable = true;
      sops.secrets.wireguard = { };
      sops.templates.netdev = {
        content = "PrivateKey=${config.sops.placeholder.wireguard}";
        neededForInitrd = true;
        initrd = {
          path = "/etc/wg.netdev";
          mode = "0440";
          uid = 152;
          gid = 152;
        };
      };
      sops.secrets.luks.initrd = {
        only = true;
        path = "/run/keys/luks";
      };
      test.recorded = [
        "/etc/wg.netdev"
        "/run/keys/luks"
      ];
    };

  testScript =
    { nodes, ... }:
    ''
      host_key = "${./assets/ssh_host_ed25519_key}"
      ${builtins.readFile ./common/boot.py}
      prepare(machine)
      switch(machine, "${nodes.templates.system.build.toplevel}")
      reboot(machine)

      text = "PrivateKey=" + machine.succeed("cat /run/secrets/wireguard")
      assert recorded(machine, "/etc/wg.netdev") == [digest(text), "440", "152", "152"]
      assert machine.succeed("cat /run/secrets/rendered/netdev") == text

      assert recorded(machine, "/run/keys/luks") == [digest("luks-passphrase-one"), "400", "0", "0"]
      machine.fail("test -e /run/keys/luks")
      machine.fail("test -e /run/secrets/luks")
      search(machine, "luks-passphrase-one", text)
    '';
}
