# Rendered templates: their text, owners and links; beside a secret that is needed for users.
{
  nodes.machine =
    { config, ... }:
    {
      imports = [ ./common/age-key.nix ];
      sops.secrets.test_key = { };
      sops.secrets."nested/test/file".neededForUsers = true;

      sops.templates = {
        owned = {
          content = ''
            first
            ${config.sops.placeholder.test_key} and ${config.sops.placeholder.test_key}
          '';
          owner = "someuser";
          mode = "0440";
        };
        linked = {
          content = "value: ${config.sops.placeholder.test_key}";
          path = "/etc/externally/linked";
        };
        numbered = {
          content = config.sops.placeholder.test_key;
          uid = 420;
          gid = 420;
        };
        for-users = {
          content = "hash: ${config.sops.placeholder."nested/test/file"}";
          neededForUsers = true;
        };
      };

      users.groups.somegroup = { };
      users.users.someuser = {
        isSystemUser = true;
        group = "somegroup";
      };
    };

  testScript = ''
    machine.wait_for_unit("multi-user.target")
    rendered = "/run/secrets/rendered"
    assert machine.succeed(f"cat {rendered}/owned") == "first\ntest_value and test_value\n"
    assert machine.succeed(f"stat -c '%U %G %a' {rendered}/owned").strip() == "someuser somegroup 440"
    assert machine.succeed(f"stat -c '%u %g' {rendered}/numbered").strip() == "420 420"
    assert machine.succeed("cat /etc/externally/linked") == "value: test_value"
    assert machine.succeed("realpath /etc/externally/linked").strip() == "/run/secrets.d/1/rendered/linked"
    assert machine.succeed("cat /run/secrets-for-users/rendered/for-users") == "hash: another value"
  '';
}
