{
  sops.secrets.wireguard-key = {
    sopsFile = ../secrets/wireguard.key;
    format = "binary";
    initrd.only = true;
    initrd.path = "/etc/wireguard.key";
  };
}
