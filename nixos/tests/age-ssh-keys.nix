# An ed25519 host key is an age identity, and a generated age key beside it does no harm.
{
  nodes.machine = {
    services.openssh.enable = true;
    services.openssh.hostKeys = [
      {
        type = "ed25519";
        path = ./assets/ssh_host_ed25519_key;
      }
    ];
    sops.defaultSopsFile = ./assets/secrets.yaml;
    sops.secrets.test_key = { };
    sops.age.keyFile = "/var/lib/sops-nix/key.txt";
    sops.age.generateKey = true;
  };

  testScript = ''
    machine.wait_for_unit("multi-user.target")
    assert machine.succeed("cat /run/secrets/test_key") == "test_value"
    assert machine.succeed("stat -c %a /var/lib/sops-nix/key.txt").strip() == "600"
  '';
}
