# A machine that boots from its own disk through a boot loader, and whose stage 1 records what it
# finds: for every file named in test.recorded a line with its path, SHA-256, mode, owner and group
# in /run/stage-1, which the running system sees.
{
  config,
  lib,
  ...
}:

{
  options.test.recorded = lib.mkOption {
    type = lib.types.listOf lib.types.str;
    default = [ ];
    description = "Files of stage 1 to record.";
  };

  config = {
    virtualisation = {
      useBootLoader = true;
      useEFIBoot = true;
      mountHostNixStore = false;
      emptyDiskImages = [ 128 ];
    };
    boot.initrd.systemd.enable = true;
    # The key is a file of the machine, as on a real host; it is put there before the first switch.
    services.openssh.enable = true;
    sops.age.sshKeyPaths = [ "/etc/ssh/ssh_host_ed25519_key" ];
    sops.gnupg.sshKeyPaths = [ ];
    sops.defaultSopsFile = lib.mkDefault ../assets/secrets.yaml;

    boot.initrd.systemd.services.record = lib.mkIf (config.test.recorded != [ ]) {
      wantedBy = [ "sysinit.target" ];
      after = [ "initrd-nixos-copy-secrets.service" ];
      before = [ "cryptsetup-pre.target" ];
      unitConfig.DefaultDependencies = false;
      serviceConfig.Type = "oneshot";
      script = lib.concatMapStrings (file: ''
        if [ -e ${file} ]; then
          echo "${file} $(sha256sum < ${file} | cut -d ' ' -f 1) $(stat -c '%a %u %g' ${file})"
        fi >> /run/stage-1
      '') config.test.recorded;
    };
  };
}
