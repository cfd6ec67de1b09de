{ pkgs, ... }:
{
  sops.secrets.initrd-tailscale-state = {
    sopsFile = ../secrets/tailscale-state;
    format = "binary";
    initrd.only = true;
    initrd.path = "/var/lib/tailscale/tailscaled.state";
  };

  boot.initrd.systemd = {
    # The program itself: what is named tailscaled is a script that looks for tools which are not needed here.
    storePaths = [ "${pkgs.tailscale}/bin/.tailscaled-wrapped" ];

    services.tailscaled = {
      wantedBy = [ "initrd.target" ];
      # The state has to be there; units of stage 1 that are to run before disks are opened have no default dependencies.
      after = [
        "initrd-nixos-copy-secrets.service"
        "network.target"
      ];
      before = [ "initrd-switch-root.target" ];
      conflicts = [ "initrd-switch-root.target" ];
      unitConfig.DefaultDependencies = false;
      serviceConfig = {
        ExecStart = "${pkgs.tailscale}/bin/.tailscaled-wrapped --tun=userspace-networking --state=/var/lib/tailscale/tailscaled.state --socket=/run/tailscale/tailscaled.sock";
        RuntimeDirectory = "tailscale";
        Restart = "on-failure";
      };
    };
  };
}
