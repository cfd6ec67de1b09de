# Users whose passwords are secrets, and a secret that belongs to such a user. The test script is
# for every way to make users.
{ lib, ... }:

{
  nodes.machine =
    { config, ... }:
    {
      imports = [ ./age-key.nix ];
      system.switch.enable = true;
      sops.secrets.test_key.neededForUsers = true;
      sops.secrets."nested/test/file".owner = "someuser";

      users.groups.somegroup = { };
      users.users.someuser = {
        isSystemUser = true;
        group = "somegroup";
        hashedPasswordFile = config.sops.secrets.test_key.path;
      };
    };

  testScript = lib.mkDefault ''
    def check():
        machine.succeed("getent shadow someuser | grep -q :test_value:")
        assert machine.succeed("cat /run/secrets-for-users/test_key") == "test_value"
        assert machine.succeed("cat /run/secrets/nested/test/file") == "another value"
        assert machine.succeed("stat -c %U /run/secrets/nested/test/file").strip() == "someuser"

    machine.wait_for_unit("multi-user.target")
    check()
    machine.succeed("systemctl is-active sops-secrets.target sops-secrets-for-users.target")
    machine.succeed("/run/current-system/bin/switch-to-configuration test")
    check()
  '';
}
