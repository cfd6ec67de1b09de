# A machine without initrd secrets, and the system that it is switched to, which has an SSH host key
# and the key of an encrypted disk in its initrd. The test makes one switch, and boots.
{ config, lib, ... }:

{
  options.steps = lib.mkOption {
    type = lib.types.functionTo lib.types.lines;
    default = _: "";
    description = "What else is tested, given the nodes.";
  };

  config.nodes = {
    machine =
      { nodes, pkgs, ... }:
      {
        imports = [ ./boot.nix ];
        environment.systemPackages = [ pkgs.cryptsetup ];
        system.extraDependencies = [ nodes.secrets.system.build.toplevel ];
      };

    secrets =
      { config, pkgs, ... }:
      {
        imports = [ ./boot.nix ];
        environment.systemPackages = [ pkgs.cryptsetup ];
        sops.secrets.luks.neededForInitrd = true;
        sops.secrets.initrd-ssh-key.neededForInitrd = true;

        boot.initrd.network.enable = true;
        boot.initrd.network.ssh = {
          enable = true;
          hostKeys = [ config.sops.secrets.initrd-ssh-key.path ];
          authorizedKeys = [ (builtins.readFile ../assets/ssh_host_ed25519_key.pub) ];
        };
        boot.initrd.luks.devices.data = {
          device = "/dev/vdb";
          keyFile = config.sops.secrets.luks.path;
        };
        virtualisation.fileSystems."/data" = {
          device = "/dev/mapper/data";
          fsType = "ext4";
          neededForBoot = true;
        };
        test.recorded = [
          config.sops.secrets.luks.path
          config.sops.secrets.initrd-ssh-key.path
        ];
      };
  };

  config.testScript =
    { nodes, ... }:
    ''
      host_key = "${../assets/ssh_host_ed25519_key}"
      system = "${nodes.secrets.system.build.toplevel}"
      ${builtins.readFile ./boot.py}
      prepare(machine)
      machine.succeed("printf luks-passphrase-one > /run/luks.key")
      machine.succeed("cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 /dev/vdb /run/luks.key")
      machine.succeed("cryptsetup open --key-file /run/luks.key /dev/vdb data")
      machine.succeed("mkfs.ext4 -q /dev/mapper/data")

      machine.fail("test -e /run/secrets")
      switch(machine, system)
      reboot(machine)

      machine.succeed("findmnt /data")
      luks = recorded(machine, "/run/secrets/luks")
      assert luks == [digest("luks-passphrase-one"), "400", "0", "0"], luks
      key = recorded(machine, "/run/secrets/initrd-ssh-key")
      assert key[0] == machine.succeed("sha256sum < /run/secrets/initrd-ssh-key").split()[0]
      assert key[1:] in (["400", "0", "0"], ["600", "0", "0"]), key

      # Nothing of stage 1 is left where the running system installs its own.
      machine.succeed("test -L /run/secrets")
      assert machine.succeed("cat /run/secrets/luks") == "luks-passphrase-one"
    ''
    + config.steps nodes
    + ''
      search(machine, "luks-passphrase-one", "luks-passphrase-two")
    '';
}
