# The examples of README and docs, and those that users of the reference know.
{
  lib,
  evaluate,
  assets,
  ...
}:

let
  example = file: { imports = [ (../../../../docs/examples + "/${file}") ]; };
  # Examples name sops files of their reader.
  withFile = {
    sops.defaultSopsFile = lib.mkForce (assets + "/secrets.yaml");
  };
  ssh = evaluate {
    config = {
      imports = [
        (example "ssh-unlock.nix")
        withFile
      ];
    };
  };
in
{
  "ssh unlock: nothing is wrong" = {
    expr = {
      inherit (ssh) faults warnings;
    };
    expected = {
      faults = [ ];
      warnings = [ ];
    };
  };

  "ssh unlock: the host key and the key file are in the initrd" = {
    expr = ssh.config.sops.initrd.entries;
    expected = [
      {
        path = "/run/secrets/initrd-ssh-key";
        secret = "initrd-ssh-key";
        mode = "0400";
        uid = 0;
        gid = 0;
      }
    ];
  };

  "ssh unlock: sshd in stage 1 uses the delivered key" = {
    expr = ssh.config.boot.initrd.network.ssh.hostKeys;
    expected = [ "/run/secrets/initrd-ssh-key" ];
  };

  "ssh unlock: the key sources are those of the host" = {
    expr = {
      inherit (ssh.initrdManifest)
        version
        prefix
        ageSshKeyPaths
        sshKeyPaths
        ageKeyFile
        gnupgHome
        ;
    };
    expected = {
      version = 1;
      prefix = "/.initrd-secrets";
      ageSshKeyPaths = [ "/etc/ssh/ssh_host_ed25519_key" ];
      sshKeyPaths = [ "/etc/ssh/ssh_host_rsa_key" ];
      ageKeyFile = null;
      gnupgHome = null;
    };
  };
}
