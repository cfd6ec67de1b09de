{ config, pkgs, ... }:
{
  sops.defaultSopsFile = ../secrets/services.yaml;

  # A file for a user, and a unit that is restarted when it changes.
  users.users.web = {
    isSystemUser = true;
    group = "web";
  };
  users.groups.web = { };
  sops.secrets."web/password" = {
    owner = "web";
    restartUnits = [ "web.service" ];
  };

  # A service without a user of its own: systemd hands the secret over as a credential.
  sops.secrets.api-token.restartUnits = [ "report.service" ];
  systemd.services.report = {
    wants = [ "sops-secrets.target" ];
    after = [ "sops-secrets.target" ];
    serviceConfig = {
      DynamicUser = true;
      LoadCredential = "token:${config.sops.secrets.api-token.path}";
    };
    script = ''
      ${pkgs.curl}/bin/curl --header @"$CREDENTIALS_DIRECTORY/token" https://example.org/report
    '';
  };

  # One value for two services: two secrets with the same key.
  sops.secrets.drone-server = {
    key = "drone";
    owner = "drone-server";
  };
  sops.secrets.drone-agent = {
    key = "drone";
    owner = "drone-agent";
  };
  users.users.drone-server = {
    isSystemUser = true;
    group = "drone";
  };
  users.users.drone-agent = {
    isSystemUser = true;
    group = "drone";
  };
  users.groups.drone = { };

  # A program that wants the file in a place of its own gets a symbolic link there.
  sops.secrets."home-assistant.yaml" = {
    key = "home-assistant";
    owner = "hass";
    path = "/var/lib/hass/secrets.yaml";
    restartUnits = [ "home-assistant.service" ];
  };
  users.users.hass = {
    isSystemUser = true;
    group = "hass";
  };
  users.groups.hass = { };

  # A file that is no text: the sops file as a whole.
  sops.secrets.krb5-keytab = {
    format = "binary";
    sopsFile = ../secrets/krb5.keytab;
  };

  # A configuration file with secrets in it.
  sops.templates."web.toml" = {
    owner = "web";
    restartUnits = [ "web.service" ];
    content = ''
      listen = "127.0.0.1:8080"
      password = "${config.sops.placeholder."web/password"}"
    '';
  };
}
