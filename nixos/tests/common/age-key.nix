# The test age key on a machine, at /run/age-keys.txt, before secrets are installed.
{ config, lib, ... }:

let
  place = "install -m 0600 ${../assets/age-keys.txt} /run/age-keys.txt";
in
{
  sops.age.keyFile = "/run/age-keys.txt";
  sops.defaultSopsFile = ../assets/secrets.yaml;

  system.activationScripts = {
    testAgeKey = place;
    setupSecrets = lib.mkIf (!config.sops.useSystemdActivation) { deps = [ "testAgeKey" ]; };
    setupSecretsForUsers = lib.mkIf (!config.sops.useSystemdActivation) { deps = [ "testAgeKey" ]; };
  };
  systemd.services = lib.mkIf config.sops.useSystemdActivation {
    sops-install-secrets.preStart = place;
    sops-install-secrets-for-users.preStart = place;
  };
}
