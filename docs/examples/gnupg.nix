{
  sops.gnupg.home = "/var/lib/sops";
  sops.gnupg.sshKeyPaths = [ ];
}
