# A rotated key is in the initrd after the next switch; the generation before it still boots with
# the key that it had, when it is chosen in the menu and after a rollback. Rebuilding does not make
# images grow.
{
  imports = [ ./common/initrd.nix ];
  defaults.boot.loader.systemd-boot.enable = true;

  nodes.machine =
    { nodes, ... }:
    {
      system.extraDependencies = [ nodes.rotated.system.build.toplevel ];
    };
  nodes.rotated =
    { config, pkgs, ... }:
    {
      imports = [ ./common/boot.nix ];
      environment.systemPackages = [ pkgs.cryptsetup ];
      sops.defaultSopsFile = ./assets/rotated.yaml;
      sops.secrets.luks.neededForInitrd = true;
      boot.initrd.luks.devices.data = {
        device = "/dev/vdb";
        keyFile = config.sops.secrets.luks.path;
      };
      virtualisation.fileSystems."/data" = {
        device = "/dev/mapper/data";
        fsType = "ext4";
        neededForBoot = true;
      };
      test.recorded = [ config.sops.secrets.luks.path ];
    };

  steps =
    nodes:
    ''
      rotated = "${nodes.rotated.system.build.toplevel}"

      def key():
          return recorded(machine, "/run/secrets/luks")[0]

      def images():
          return machine.succeed("find /boot -name '*initrd*' -printf '%s %p\n' | sort")

      with subtest("rotation"):
          machine.succeed("printf luks-passphrase-one > /run/one; printf luks-passphrase-two > /run/two")
          machine.succeed("cryptsetup luksAddKey -q --key-file /run/one /dev/vdb /run/two")
          switch(machine, rotated)
          reboot(machine)
          machine.succeed("findmnt /data")
          assert key() == digest("luks-passphrase-two")

      with subtest("rebuilding changes nothing"):
          before = images()
          for _ in range(3):
              machine.succeed(f"{rotated}/bin/switch-to-configuration boot >&2")
          assert images() == before

      with subtest("the generation before, from the menu"):
          entry = machine.succeed(f"grep -l {system}/init /boot/loader/entries/*.conf | xargs basename").strip()
          machine.succeed(f"bootctl set-oneshot {entry}")
          reboot(machine)
          assert key() == digest("luks-passphrase-one")

      with subtest("rollback"):
          machine.succeed("nix-env -p /nix/var/nix/profiles/system --rollback")
          machine.succeed("/nix/var/nix/profiles/system/bin/switch-to-configuration boot >&2")
          reboot(machine)
          assert key() == digest("luks-passphrase-one")
    '';
}
