# A switch restarts and reloads the units of secrets that changed, and no others; a dry run says
# what it would do.
{
  nodes.machine =
    { config, lib, ... }:
    let
      units = {
        restartUnits = [
          "restarted.service"
          "reloaded.service"
        ];
        reloadUnits = [ "triggered.service" ];
      };
      counts = name: {
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
          ExecStart = "/bin/sh -c true";
          ExecReload = "/bin/sh -c 'echo ok > /${name}'";
        };
        wantedBy = [ "multi-user.target" ];
      };
    in
    {
      imports = [ ./common/age-key.nix ];
      system.switch.enable = true;
      sops.secrets.test_key = units;
      sops.templates.text = units // {
        content = "a secret: ${config.sops.placeholder.test_key}";
      };

      systemd.services.restarted.serviceConfig.ExecStart = "/bin/sh -c 'echo ok > /restarted'";
      systemd.services.reloaded = lib.recursiveUpdate (counts "reloaded") { reloadIfChanged = true; };
      systemd.services.triggered = counts "triggered";
    };

  testScript = ''
    marks = ["/restarted", "/reloaded", "/triggered"]

    def switch(action="test"):
        return machine.succeed(f"/run/current-system/bin/switch-to-configuration {action} 2>&1")

    def expect(happened):
        for mark in marks:
            (machine.succeed if happened else machine.fail)(f"test -f {mark}")
        machine.succeed("rm -f " + " ".join(marks))

    machine.wait_for_unit("multi-user.target")
    expect(False)
    machine.fail("ls /run/nixos/*-list")
    switch()
    expect(False)

    for changed in ["test_key", "rendered/text"]:
        machine.succeed(f": > /run/secrets/{changed}")
        switch()
        expect(True)

    with subtest("what a switch says"):
        machine.succeed("rm /run/secrets/test_key; : > /run/secrets/gone")
        out = switch()
        assert "adding secret: test_key" in out, out
        assert "removing secret: gone" in out, out
        expect(True)

    with subtest("a dry run"):
        machine.succeed(": > /run/secrets/test_key")
        out = switch("dry-activate")
        assert "would modify secret: test_key" in out, out
        expect(False)
        assert machine.succeed("wc -c < /run/secrets/test_key").strip() == "0"
  '';
}
