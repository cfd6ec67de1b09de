{
  sops.gnupg.home = "/var/lib/sops";
  sops.gnupg.sshKeyPaths = [ ];

  sops.secrets.from-gnupg.sopsFile = ../secrets/gnupg.yaml;
}
