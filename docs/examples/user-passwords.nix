{ config, ... }:
{
  sops.secrets.alice-password = {
    sopsFile = ../secrets/users.yaml;
    neededForUsers = true;
  };

  users.users.alice = {
    isNormalUser = true;
    hashedPasswordFile = config.sops.secrets.alice-password.path;
  };
}
