# An RSA host key opens a sops file that is encrypted for its OpenPGP conversion.
{
  nodes.server = {
    services.openssh.enable = true;
    services.openssh.hostKeys = [
      {
        type = "rsa";
        bits = 2048;
        path = ./assets/ssh_host_rsa_key;
      }
    ];
    sops.defaultSopsFile = ./assets/secrets.yaml;
    sops.secrets.test_key = { };
  };

  testScript = ''
    server.wait_for_unit("multi-user.target")
    assert server.succeed("cat /run/secrets/test_key") == "test_value"
  '';
}
