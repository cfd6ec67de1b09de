{ config, ... }:
{
  sops.defaultSopsFile = ./secrets.yaml;
  sops.age.keyFile = "${config.home.homeDirectory}/.config/sops/age/keys.txt";

  sops.secrets.mail-password.restartUnits = [ "mail.service" ];
  sops.secrets.ssh-key = {
    path = "${config.home.homeDirectory}/.ssh/id_work";
    mode = "0600";
  };

  sops.templates.netrc = {
    content = "machine imap.example.com login alice password ${config.sops.placeholder.mail-password}";
    path = "${config.home.homeDirectory}/.netrc";
  };

  systemd.user.services.mail = {
    Unit = {
      Wants = [ "sops-secrets.target" ];
      After = [ "sops-secrets.target" ];
    };
    Service.ExecStart = "/usr/bin/fetch-mail --password-file ${config.sops.secrets.mail-password.path}";
    Install.WantedBy = [ "default.target" ];
  };
}
