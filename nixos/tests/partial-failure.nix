# One secret that cannot be decrypted, and one with an unknown owner: the others are installed, the
# switch fails and says why, and the bad ones keep the values that they had.
{
  nodes.machine = {
    imports = [ ./common/age-key.nix ];
    system.switch.enable = true;
    sops.secrets.test_key = { };
    sops.secrets.luks = { };

    specialisation.broken.configuration = {
      sops.secrets.luks.sopsFile = ./assets/other-host.yaml;
      sops.secrets.new.key = "test_key";
      sops.secrets.unowned = {
        key = "test_key";
        owner = "nobody-knows";
        group = "root";
      };
    };
  };

  testScript = ''
    machine.wait_for_unit("multi-user.target")
    assert machine.succeed("cat /run/secrets/luks") == "luks-passphrase-one"

    code, out = machine.execute(
        "/run/current-system/specialisation/broken/bin/switch-to-configuration test 2>&1"
    )
    assert code != 0
    for name in ["luks", "unowned"]:
        assert f'secret "{name}"' in out, out

    assert machine.succeed("cat /run/secrets/new") == "test_value"
    assert machine.succeed("cat /run/secrets/test_key") == "test_value"
    assert machine.succeed("cat /run/secrets/luks") == "luks-passphrase-one"
    machine.fail("test -e /run/secrets/unowned")
    machine.succeed("systemctl is-active multi-user.target")
  '';
}
