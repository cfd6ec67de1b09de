{
  sops.secrets.initrd-dropbear-key = {
    sopsFile = ../secrets/initrd-dropbear-key;
    format = "binary";
    initrd.only = true;
    initrd.path = "/etc/dropbear/dropbear_ed25519_host_key";
  };
}
