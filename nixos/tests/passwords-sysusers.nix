# Passwords from secrets where users are made by systemd-sysusers.
{
  imports = [ ./common/passwords.nix ];
  nodes.machine = {
    systemd.sysusers.enable = true;
    users.mutableUsers = true;
    boot.initrd.systemd.enable = true;
    system.etc.overlay.enable = true;
  };
}
