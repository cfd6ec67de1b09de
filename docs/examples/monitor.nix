{
  sops.initrd.monitor.enable = true;
}
