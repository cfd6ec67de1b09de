# Passwords from secrets where users are made by the activation script.
{
  imports = [ ./common/passwords.nix ];
}
