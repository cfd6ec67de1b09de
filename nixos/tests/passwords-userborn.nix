# Passwords from secrets where users are made by userborn.
{
  imports = [ ./common/passwords.nix ];
  nodes.machine = {
    services.userborn.enable = true;
    users.mutableUsers = false;
  };
}
