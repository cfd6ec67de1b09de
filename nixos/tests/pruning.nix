# Old generations of secrets are removed, and nothing else.
{
  nodes.machine =
    { lib, ... }:
    {
      imports = [ ./common/age-key.nix ];
      sops.secrets.test_key = { };
      sops.keepGenerations = lib.mkDefault 0;
      specialisation.pruning.configuration.sops.keepGenerations = 10;
      system.switch.enable = true;
    };

  testScript = ''
    machine.wait_for_unit("multi-user.target")
    machine.succeed("mkdir /run/secrets.d/{2..99} /run/secrets.d/non-numeric")
    machine.succeed("ln -fsn /run/secrets.d/99 /run/secrets")

    machine.succeed("/run/current-system/activate")
    for kept in ["1", "90", "100", "non-numeric"]:
        machine.succeed(f"test -d /run/secrets.d/{kept}")

    machine.succeed("/run/current-system/specialisation/pruning/bin/switch-to-configuration test")
    for kept in ["92", "101", "non-numeric"]:
        machine.succeed(f"test -d /run/secrets.d/{kept}")
    machine.fail("test -d /run/secrets.d/91")
  '';
}
