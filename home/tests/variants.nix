# A user's configuration, and changes to it one at a time, as both modules take them.
let
  example =
    { config, pkgs, ... }:
    {
      sops = {
        package = pkgs.sops;
        validateSopsFiles = false;
        defaultSopsFile = "/etc/secrets/first.yaml";
        age.keyFile = "/home/alice/.config/sops/age/keys.txt";
        age.plugins = [ pkgs.age-plugin-tpm ];
        environment.EXAMPLE = "yes";
        secrets.plain = { };
        secrets.moved = {
          sopsFile = "/etc/secrets/second.json";
          format = "json";
          key = "a/b";
          path = "%r/moved";
          mode = "0440";
        };
        templates."app.conf" = {
          content = "token=${config.sops.placeholder.plain}\n";
          path = "/home/alice/.app.conf";
        };
      };
    };
in
builtins.mapAttrs
  (_: change: {
    imports = [
      example
      change
    ];
  })
  {
    plain = { };
    gnupgHome.sops.gnupg.home = "/home/alice/.gnupg";
    gnupgSsh.sops.gnupg.sshKeyPaths = [ "/etc/ssh/ssh_host_rsa_key" ];
    gnupgTwice.sops.gnupg = {
      home = "/g";
      sshKeyPaths = [ "/k" ];
    };
    qubes.sops.gnupg.qubes-split-gpg = {
      enable = true;
      domain = "vault";
    };
    qubesNoDomain.sops.gnupg.qubes-split-gpg.enable = true;
    ageSsh =
      { lib, ... }:
      {
        sops.age = {
          keyFile = lib.mkForce null;
          sshKeyPaths = [ "/home/alice/.ssh/id_ed25519" ];
        };
      };
    noKeys =
      { lib, ... }:
      {
        sops.age.keyFile = lib.mkForce null;
      };
    noPlugins =
      { lib, ... }:
      {
        sops.age.plugins = lib.mkForce [ ];
      };
    generateKey.sops.age.generateKey = true;
    spaces =
      { lib, ... }:
      {
        sops.age = {
          generateKey = true;
          keyFile = lib.mkForce "/home/alice/my keys/it's.txt";
        };
      };
    symlinkPath.sops = {
      defaultSymlinkPath = "/home/alice/.secrets";
      defaultSecretsMountPoint = "%r/alices.d";
    };
    xdgConfig.xdg.configHome = "/home/alice/.cfg";
    defaultKey.sops.defaultSopsKey = "all";
    keptAndLog.sops = {
      keepGenerations = 3;
      log = [ "keyImport" ];
    };
    realFile =
      { lib, ... }:
      {
        sops.defaultSopsFile = lib.mkForce ../../nixos/tests/assets/secrets.yaml;
        sops.secrets.moved.sopsFile = lib.mkForce ../../nixos/tests/assets/secrets.json;
        sops.validateSopsFiles = lib.mkForce true;
      };
    renamed.sops.secrets.plain.name = "other";
    formats.sops.secrets = {
      whole.format = "binary";
      env.format = "dotenv";
      part = {
        format = "ini";
        key = "a/b";
      };
    };
    templateFile =
      { pkgs, ... }:
      {
        sops.templates.unit = {
          file = pkgs.writeText "unit.tmpl" "x";
          mode = "0600";
        };
      };
    templates.sops = {
      defaultSymlinkPath = "/home/alice/.secrets";
      templates.t.content = "x";
    };
    noSecrets =
      { lib, ... }:
      {
        sops.secrets = lib.mkForce { };
        sops.templates = lib.mkForce { };
      };
    userOff.systemd.user.enable = false;
  }
