# A user as somebody would write one: a unit that reads secrets, links, a template, quotes.
{ config, ... }:
{
  sops.age.keyFile = "/home/alice/.config/sops/age/keys.txt";
  sops.environment.QUOTED = "it's \"so\" $HOME %h";
  sops.secrets.test_key.restartUnits = [ "app.service" ];
  sops.secrets."nested/test/file" = {
    path = "/home/alice/.config/app/password";
    mode = "0600";
  };
  sops.templates."app/app.conf" = {
    content = "password=${config.sops.placeholder."nested/test/file"}\n";
    path = "%r/app.conf";
    reloadUnits = [ "app.service" ];
  };

  # It leaves a digest of what it saw.
  systemd.user.services.app = {
    Unit = {
      Wants = [ "sops-secrets.target" ];
      After = [ "sops-secrets.target" ];
    };
    Service.ExecStart = "/bin/sh -c 'sha256sum < ${config.sops.secrets.test_key.path} > %t/app-seen; sleep infinity'";
    Install.WantedBy = [ "default.target" ];
  };
}
