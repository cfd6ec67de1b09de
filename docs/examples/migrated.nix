{
  sops.secrets.database = {
    sopsFile = ../secrets/database;
    format = "binary";
  };
}
