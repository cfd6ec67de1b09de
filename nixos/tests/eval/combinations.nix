# Features in all pairs and in a sample of triples: whatever is combined evaluates, with every field
# of it forced. What is wrong with a combination may be an assertion; nothing may be an error of
# Nix. A failure names its combination.
#
#   nix-instantiate --eval --strict combinations.nix --arg libPath /path/to/nixpkgs/lib
{
  libPath,
  triples ? 400,
  seed ? 20261126,
}:

let
  lib = import libPath;
  inherit (import ./evaluate.nix { inherit lib; }) evaluate pkgs;
  assets = ../assets;

  # Those of one group exclude each other.
  features = {
    secret.config.sops.secrets.plain = { };
    owner.config = {
      users.users.app.group = "app";
      sops.secrets.owned.owner = "app";
      sops.secrets.owned.mode = "0440";
    };
    own-path.config.sops.secrets.linked.path = "/var/lib/app/linked";
    whole-file.config.sops.secrets.whole = {
      sopsFile = assets + "/secrets.env";
      format = "dotenv";
    };
    built-file.config.sops.secrets.built.sopsFile = derivation {
      name = "built.yaml";
      system = "any";
      builder = "none";
    };
    unvalidated.config = {
      sops.validateSopsFiles = false;
      sops.secrets.outside.sopsFile = "/etc/nixos/secrets.yaml";
    };
    restart.config.sops.secrets.restarts.restartUnits = [ "app.service" ];
    for-users.config.sops.secrets.password.neededForUsers = true;
    template-plain.config.sops.templates.empty.content = "no secret";
    template =
      {
        config =
          { config, ... }:
          {
            sops.secrets.in-template = { };
            sops.templates.rendered.content = "x=${config.sops.placeholder.in-template}";
          };
      };
    template-file.config.sops.templates.file.file = assets + "/template.conf";
    template-built.config.sops.templates.built.file = derivation {
      name = "built.conf";
      system = "any";
      builder = "none";
    };
    template-for-users.config.sops.templates.hashes = {
      content = "x";
      neededForUsers = true;
    };
    template-initrd =
      {
        config =
          { config, ... }:
          {
            sops.secrets.in-initrd-template = { };
            sops.templates.netdev = {
              content = config.sops.placeholder.in-initrd-template;
              initrd.only = true;
              initrd.path = "/etc/systemd/network/wg.netdev";
            };
          };
      };
    initrd.config.sops.secrets.luks.neededForInitrd = true;
    initrd-only.config.sops.secrets.only.initrd.only = true;
    initrd-early.config.sops.secrets.early = {
      initrd.only = true;
      initrd.early = true;
      initrd.path = "/etc/crypttab";
    };
    initrd-users.config.sops.secrets.both = {
      neededForInitrd = true;
      neededForUsers = true;
    };
    initrd-off = {
      group = "initrd";
      config.sops.initrd.enable = false;
    };
    initrd-on = {
      group = "initrd";
      config.sops.initrd.enable = true;
    };
    initrd-conditional = {
      group = "initrd";
      config =
        { config, ... }:
        {
          sops.initrd.enable = config.boot.loader.systemd-boot.enable;
        };
    };
    host-file.config.boot.initrd.secrets."/etc/other" = "/etc/other";
    store-file.config.boot.initrd.secrets."/etc/initrd.ovpn" = pkgs.writeText "client.ovpn" "x";
    served.config =
      { config, ... }:
      {
        sops.secrets.served = { };
        boot.initrd.secrets."/etc/served" = config.sops.secrets.served.path;
      };
    directory.config = {
      sops.secrets."dir/a" = { };
      boot.initrd.secrets."/etc/dir" = "/run/secrets/dir";
    };
    unknown.config.boot.initrd.secrets."/etc/unknown" = "/run/secrets/unknown";
    forced = {
      group = "all of boot.initrd.secrets";
      config.boot.initrd.secrets = lib.mkForce { };
    };
    ssh.config =
      { config, ... }:
      {
        sops.secrets.ssh = { };
        boot.initrd.network.enable = true;
        boot.initrd.network.ssh.enable = true;
        boot.initrd.network.ssh.hostKeys = [
          config.sops.secrets.ssh.path
          "/etc/secrets/initrd/ssh_host_rsa_key"
        ];
      };
    luks.config =
      { config, ... }:
      {
        sops.secrets.disk = { };
        boot.initrd.luks.devices.disk.keyFile = config.sops.secrets.disk.path;
      };
    wireguard.config =
      { config, ... }:
      {
        sops.secrets.wg = { };
        boot.initrd.systemd.network.netdevs.wg0.wireguardConfig.PrivateKeyFile = config.sops.secrets.wg.path;
      };
    generate-key = {
      group = "age.keyFile";
      config.sops.age.generateKey = true;
      config.sops.age.keyFile = "/var/lib/sops-nix/key.txt";
    };
    late-key = {
      group = "age.keyFile";
      config.sops.age.keyFile = "/persist/key.txt";
      config.fileSystems."/persist".device = "/dev/vdb";
    };
    gnupg.config.sops.gnupg = {
      home = "/root/.gnupg";
      sshKeyPaths = lib.mkForce [ ];
    };
    plugins.config.sops.age.plugins = [ pkgs.age-plugin-tpm ];
    environment.config.sops.environment = {
      A = "50%'";
      GOOGLE = /root/gcp.json;
    };
    recipients.config.sops.hostRecipients = [ "age1x" ];
    vfat.config.fileSystems."/boot".fsType = "vfat";
    units = {
      group = "useSystemdActivation";
      config.sops.useSystemdActivation = true;
    };
    scripts = {
      group = "useSystemdActivation";
      config.sops.useSystemdActivation = false;
    };
    specialisation.config.specialisation.other.configuration = { };
    container.config.boot.isContainer = true;
    no-sshd.machine.sshd = false;
    scripted-stage-1.machine.systemdStage1 = false;
  }
  // lib.genAttrs [ "25.11" "26.11" ] (release: { machine.release = release; })
  // lib.genAttrs [ "sysusers" "userborn" ] (users: { machine.users = users; })
  // lib.genAttrs [ "grub" "limine" "refind" "extlinux" "raspberry-pi" "external" "none" ] (
    loader: { machine.loader = loader; }
  );

  names = builtins.attrNames features;
  count = builtins.length names;
  at = builtins.elemAt names;

  compatible =
    set:
    let
      of = map (name: features.${name}) set;
      groups = builtins.filter (g: g != null) (map (f: f.group or null) of);
      settings = lib.concatMap (f: builtins.attrNames (f.machine or { })) of;
    in
    builtins.length (lib.unique set) == builtins.length set
    && lib.allUnique groups
    && lib.allUnique settings;

  pairs = lib.concatLists (lib.genList (i: map (j: [ (at i) (at j) ]) (lib.range (i + 1) (count - 1))) count);
  # A linear congruential generator; its high bits are random enough.
  random = lib.genList (i: i) (3 * triples);
  numbers = builtins.foldl' (
    state: _: state ++ [ (lib.mod (1103515245 * lib.last state + 12345) 2147483648) ]
  ) [ seed ] random;
  sample = lib.genList (i: map (k: at (lib.mod (builtins.elemAt numbers (3 * i + k) / 65536) count)) [ 0 1 2 ]) triples;
  sets = map (name: [ name ]) names ++ builtins.filter compatible (pairs ++ sample);

  force =
    set:
    let
      of = map (name: features.${name}) set;
      r = evaluate (
        lib.mergeAttrsList (map (f: f.machine or { }) of)
        // {
          config.imports = [ { sops.defaultSopsFile = assets + "/secrets.yaml"; } ] ++ map (f: f.config or { }) of;
        }
      );
      inherit (r.config) sops system boot;
      withoutPackages =
        set:
        removeAttrs set [
          "package"
          "validationPackage"
          # renamed long ago
          "gnupgHome"
          "sshKeyPaths"
        ];
      text = file: if file ? text then file.text + file.checkPhase else toString file;
      all = [
        (map (a: [ a.assertion (if a.assertion then "" else a.message) ]) r.config.assertions)
        r.warnings
        (withoutPackages (sops // { initrd = withoutPackages sops.initrd; }))
        (map text (
          builtins.attrValues (
            removeAttrs system.build [
              "initialRamdisk"
              "initialRamdiskSecretAppender"
              "initrdSecrets"
            ]
          )
        ))
        (lib.optional boot.initrd.enable (text system.build.initialRamdiskSecretAppender))
        system.activationScripts
        r.config.systemd
        boot.loader.supportsInitrdSecrets
        boot.initrd
        (map toString r.config.environment.systemPackages)
        r.config.users
      ];
    in
    builtins.addErrorContext "while combining ${toString set}" (builtins.deepSeq all true);
in
assert builtins.all force sets;
"${toString (builtins.length sets)} combinations of ${toString count} features"
