# Keys in a GnuPG home; a secret whose path is taken by a file.
{
  nodes.server =
    { lib, pkgs, ... }:
    {
      users.users.someuser = {
        isSystemUser = true;
        group = "somegroup";
      };
      users.groups.somegroup = { };

      sops.gnupg.home = "/run/gpghome";
      sops.gnupg.sshKeyPaths = [ ];
      sops.age.sshKeyPaths = [ ];
      sops.defaultSopsFile = ./assets/secrets.yaml;
      sops.secrets.test_key.owner = "someuser";
      sops.secrets.existing-file = {
        key = "test_key";
        path = "/run/existing-file";
      };

      system.activationScripts.gnupgHome = ''
        mkdir -p -m 0700 /run/gpghome
        ${lib.getExe' pkgs.gnupg "gpg"} --homedir /run/gpghome --batch --quiet --import ${./assets/gnupg-key.asc}
        touch /run/existing-file
      '';
      system.activationScripts.setupSecrets.deps = [ "gnupgHome" ];
    };

  testScript = ''
    server.wait_for_unit("multi-user.target")
    assert server.succeed("runuser -u someuser -- cat /run/secrets/test_key") == "test_value"
    assert server.succeed("readlink -f /run/existing-file").strip() == "/run/secrets.d/1/existing-file"
  '';
}
