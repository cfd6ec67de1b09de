# An age key file; owners by name and by number, with and without such a user; all formats.
{
  nodes.machine =
    { config, ... }:
    {
      imports = [ ./common/age-key.nix ];
      sops.secrets = {
        test_key = { };
        by_number = {
          uid = config.users.users.someuser.uid;
          gid = config.users.groups.somegroup.gid;
          key = "test_key";
        };
        by_name = {
          owner = "someuser";
          mode = "0440";
          key = "test_key";
        };
        nobody = {
          uid = 1001;
          gid = 1001;
          key = "test_key";
        };
        "nested/test/file" = { };
        json = {
          sopsFile = ./assets/secrets.json;
          format = "json";
          key = "test_key";
        };
        dotenv = {
          sopsFile = ./assets/secrets.env;
          format = "dotenv";
        };
        ini = {
          sopsFile = ./assets/secrets.ini;
          format = "ini";
          key = "section/test_key";
        };
        binary = {
          sopsFile = ./assets/secrets.bin;
          format = "binary";
        };
      };

      users.users.someuser = {
        uid = 1000;
        group = "somegroup";
        isNormalUser = true;
      };
      users.groups.somegroup.gid = 1000;
    };

  testScript = ''
    def owner(name):
        return machine.succeed(f"stat -c '%u %g %a' /run/secrets/{name}").strip()

    machine.wait_for_unit("multi-user.target")
    assert machine.succeed("cat /run/secrets/test_key") == "test_value"
    assert machine.succeed("cat /run/secrets/nested/test/file") == "another value"
    assert machine.succeed("cat /run/secrets/json") == "json_value"
    assert machine.succeed("cat /run/secrets/dotenv").strip() == "test_key=dotenv_value"
    assert machine.succeed("cat /run/secrets/ini") == "ini_value"
    assert machine.succeed("wc -c < /run/secrets/binary").strip() == "13"

    assert owner("test_key") == "0 0 400"
    assert owner("by_number") == "1000 1000 400"
    assert owner("by_name") == "1000 1000 440"
    assert owner("nobody") == "1001 1001 400"
  '';
}
