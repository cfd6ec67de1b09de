# Every option that users of the reference know: it exists under its name, with its default, and
# reaches the manifest.
{
  lib,
  evaluate,
  pkgs,
  assets,
  ...
}:

let
  base = {
    sops.defaultSopsFile = assets + "/secrets.yaml";
    sops.secrets.test_key = { };
  };
  with' = sops: evaluate { config.imports = [ base { inherit sops; } ]; };
  plain = with' { };

  inherit (plain.config) sops;
  secret = name: value: (with' { secrets.${name} = value; }).config.sops.secrets.${name};
  inManifest =
    name: value:
    lib.findFirst (s: s.name == name) null (with' { secrets.${name} = value; }).manifest.secrets;
  storePath = file: builtins.unsafeDiscardStringContext "${assets + "/${file}"}";

  visible = lib.filter (o: o.visible && !o.internal) (
    lib.optionAttrSetToDocList { inherit (plain.options) sops; }
  );
in
{
  "the defaults are those of the reference" = {
    expr = {
      inherit (sops)
        defaultSopsFormat
        defaultSopsKey
        validateSopsFiles
        keepGenerations
        log
        environment
        useTmpfs
        useSystemdActivation
        templates
        ;
      age = removeAttrs sops.age [ ];
      gnupg = removeAttrs sops.gnupg [ "package" ];
    };
    expected = {
      defaultSopsFormat = "yaml";
      defaultSopsKey = null;
      validateSopsFiles = true;
      keepGenerations = 1;
      log = [
        "keyImport"
        "secretChanges"
      ];
      environment = { };
      useTmpfs = false;
      useSystemdActivation = false;
      templates = { };
      age = {
        keyFile = null;
        plugins = [ ];
        generateKey = false;
        sshKeyPaths = [ "/etc/ssh/ssh_host_ed25519_key" ];
      };
      gnupg = {
        home = null;
        sshKeyPaths = [ "/etc/ssh/ssh_host_rsa_key" ];
      };
    };
  };

  "the defaults of a secret are those of the reference" = {
    expr = removeAttrs sops.secrets.test_key [
      "extractKey"
      "initrd"
      "neededForInitrd"
    ];
    expected = {
      name = "test_key";
      key = "test_key";
      path = "/run/secrets/test_key";
      format = "yaml";
      mode = "0400";
      owner = null;
      uid = 0;
      group = null;
      gid = 0;
      sopsFile = assets + "/secrets.yaml";
      sopsFileHash = builtins.hashFile "sha256" (assets + "/secrets.yaml");
      restartUnits = [ ];
      reloadUnits = [ ];
      neededForUsers = false;
    };
  };

  "the defaults of a template are those of the reference" = {
    expr = removeAttrs (with' { templates.t = { }; }).config.sops.templates.t [
      "initrd"
      "neededForInitrd"
      "neededForUsers"
      "hasFile"
      "file"
    ];
    expected = {
      name = "t";
      path = "/run/secrets/rendered/t";
      content = "";
      mode = "0400";
      owner = null;
      uid = 0;
      group = null;
      gid = 0;
      restartUnits = [ ];
      reloadUnits = [ ];
    };
  };

  "the packages come with the module" = {
    expr = lib.mapAttrs (_: p: p.name) {
      inherit (sops) package validationPackage;
      gnupg = sops.gnupg.package;
      initrd = sops.initrd.package;
      initrdValidation = sops.initrd.validationPackage;
    };
    expected = {
      package = "sops-initrd-0.2.0-activation";
      validationPackage = "sops-initrd-0.2.0-activation";
      gnupg = "gnupg";
      initrd = "sops-initrd-0.2.0";
      initrdValidation = "sops-initrd-0.2.0";
    };
  };

  "the manifest" = {
    expr = plain.manifest;
    expected = {
      version = 1;
      secrets = [
        {
          name = "test_key";
          key = "test_key";
          path = "/run/secrets/test_key";
          format = "yaml";
          mode = "0400";
          owner = null;
          uid = 0;
          group = null;
          gid = 0;
          sopsFile = storePath "secrets.yaml";
          restartUnits = [ ];
          reloadUnits = [ ];
          # for other programs
          sopsFileHash = builtins.hashFile "sha256" (assets + "/secrets.yaml");
          neededForUsers = false;
        }
      ];
      templates = [ ];
      placeholderBySecretName = { }; # there is no template
      secretsMountPoint = "/run/secrets.d";
      symlinkPath = "/run/secrets";
      keepGenerations = 1;
      sshKeyPaths = [ "/etc/ssh/ssh_host_rsa_key" ];
      gnupgHome = null;
      ageKeyFile = null;
      ageSshKeyPaths = [ "/etc/ssh/ssh_host_ed25519_key" ];
      useTmpfs = false;
      userMode = false;
      generateAgeKey = false;
      logging = {
        keyImport = true;
        secretChanges = true;
      };
    };
  };

  "the manifest is checked when it is built" = {
    expr = plain.config.system.build.sops-nix-manifest.checkPhase;
    expected = "${sops.package}/bin/sops-install-secrets -check-mode=sopsfile \"$target\"\n";
  };

  "without validation, only the manifest is checked, and files may be anywhere" = {
    expr =
      let
        r = with' {
          validateSopsFiles = false;
          secrets.test_key.sopsFile = "/etc/nixos/secrets.yaml";
        };
      in
      {
        inherit (r) faults;
        check = r.config.system.build.sops-nix-manifest.checkPhase;
        file = (builtins.head r.manifest.secrets).sopsFile;
        hash = r.config.sops.secrets.test_key.sopsFileHash;
      };
    expected = {
      faults = [ ];
      check = "${sops.package}/bin/sops-install-secrets -check-mode=manifest \"$target\"\n";
      file = "/etc/nixos/secrets.yaml";
      hash = "";
    };
  };

  "a cross-compiled system is checked with programs of the building platform" = {
    expr =
      let
        native = import ../stand-ins/pkgs.nix {
          inherit lib;
          suffix = "-native";
        };
        foreign = pkgs // {
          pkgsBuildHost = native;
          stdenv = pkgs.stdenv // {
            hostPlatform = {
              system = "aarch64-linux";
              isLinux = true;
            };
          };
        };
        inherit (r.config) sops;
        r = evaluate {
          config.imports = [
            base
            { _module.args.pkgs = foreign; }
          ];
        };
      in
      map (p: p.name) [
        sops.package
        sops.validationPackage
        sops.initrd.package
        sops.initrd.validationPackage
      ];
    expected = [
      "sops-initrd-0.2.0-activation"
      "sops-initrd-0.2.0-activation-native"
      "sops-initrd-0.2.0"
      "sops-initrd-0.2.0-native"
    ];
  };

  "a validation package of its own" = {
    expr =
      (with' { validationPackage = pkgs.age; }).config.system.build.sops-nix-manifest.checkPhase;
    expected = "${pkgs.age}/bin/sops-install-secrets -check-mode=sopsfile \"$target\"\n";
  };

  "keepGenerations, keyTimeout, useTmpfs and log" = {
    expr =
      let
        m =
          (with' {
            keepGenerations = 0;
            keyTimeout = 5;
            useTmpfs = true;
            log = [ "secretChanges" ];
          }).manifest;
      in
      {
        inherit (m)
          keepGenerations
          keyTimeout
          useTmpfs
          logging
          ;
      };
    expected = {
      keepGenerations = 0;
      keyTimeout = 5;
      useTmpfs = true;
      logging = {
        keyImport = false;
        secretChanges = true;
      };
    };
  };

  "keys: an age key file, and no SSH keys without sshd" = {
    expr =
      let
        r = evaluate {
          config.imports = [
            base
            {
              services.openssh.enable = false;
              sops.age.keyFile = "/var/lib/sops-nix/key.txt";
            }
          ];
        };
      in
      {
        inherit (r) faults;
        inherit (r.manifest) ageKeyFile ageSshKeyPaths sshKeyPaths;
      };
    expected = {
      faults = [ ];
      ageKeyFile = "/var/lib/sops-nix/key.txt";
      ageSshKeyPaths = [ ];
      sshKeyPaths = [ ];
    };
  };

  "keys: a Nix path outside of the store is not copied into it" = {
    expr =
      (with' {
        age.keyFile = /var/lib/sops-nix/key.txt;
        age.sshKeyPaths = [ /etc/ssh/ssh_host_ed25519_key ];
      }).manifest;
    expected = plain.manifest // {
      ageKeyFile = "/var/lib/sops-nix/key.txt";
    };
  };

  "keys: an SSH key that sops installs is not used" = {
    expr =
      let
        r = evaluate {
          config = {
            sops.defaultSopsFile = assets + "/secrets.yaml";
            sops.age.keyFile = "/key.txt";
            sops.secrets.a.path = "/etc/ssh/from_sops";
            sops.secrets.b = { };
            services.openssh.hostKeys = [
              {
                type = "ed25519";
                path = "/etc/ssh/from_sops";
              }
              {
                type = "ed25519";
                path = "/run/secrets/b";
              }
              {
                type = "ed25519";
                path = "/etc/ssh/own";
              }
            ];
          };
        };
      in
      {
        inherit (r) faults;
        keys = r.config.sops.age.sshKeyPaths;
      };
    expected = {
      faults = [ ];
      keys = [ "/etc/ssh/own" ];
    };
  };

  "keys: gnupg" = {
    expr =
      let
        r = with' {
          gnupg.home = "/root/.gnupg";
          gnupg.sshKeyPaths = [ ];
        };
      in
      {
        inherit (r) faults;
        inherit (r.manifest) gnupgHome sshKeyPaths;
        inherit (r.config.sops) environment;
      };
    expected = {
      faults = [ ];
      gnupgHome = "/root/.gnupg";
      sshKeyPaths = [ ];
      environment.SOPS_GPG_EXEC = "${pkgs.gnupg}/bin/gpg";
    };
  };

  "the renamed options" = {
    expr =
      let
        r = with' {
          gnupgHome = "/root/.gnupg";
          sshKeyPaths = [ ];
        };
      in
      {
        inherit (r.config.sops.gnupg) home sshKeyPaths;
        warned = builtins.length r.warnings;
      };
    expected = {
      home = "/root/.gnupg";
      sshKeyPaths = [ ];
      warned = 2;
    };
  };

  "keys: gnupg is not needed for RSA host keys" = {
    expr = plain.config.sops.environment;
    expected = { };
  };

  "key: the name of the secret, the default key, its own" = {
    expr = [
      (inManifest "a/b" { }).key
      (lib.findFirst (s: s.name == "x") null
        (with' {
          defaultSopsKey = "";
          secrets.x = { };
        }).manifest.secrets
      ).key
      (inManifest "y" { key = "nested/test/file"; }).key
    ];
    expected = [
      "a/b"
      ""
      "nested/test/file"
    ];
  };

  "key: the whole file for formats that are used whole" = {
    expr =
      map
        (format: (inManifest "f" { inherit format; }).key)
        [
          "yaml"
          "json"
          "binary"
          "dotenv"
          "ini"
        ];
    expected = [
      "f"
      "f"
      ""
      ""
      ""
    ];
  };

  "key: one of a dotenv file counts on request; by default the whole file is installed, as by the reference" = {
    expr =
      map
        (
          extractKey:
          (inManifest "f" {
            format = "dotenv";
            key = "test_key";
            sopsFile = assets + "/secrets.env";
            inherit extractKey;
          }).key
        )
        [
          true
          false
        ];
    expected = [
      "test_key"
      ""
    ];
  };

  "a sops file that has to be built has a hash, and is not built" = {
    expr = builtins.stringLength (inManifest "f" {
      sopsFile = derivation {
        name = "built.yaml";
        system = "any";
        builder = "none";
      };
    }).sopsFileHash;
    expected = 64;
  };

  "defaultSopsFormat" = {
    expr =
      (with' {
        defaultSopsFile = lib.mkForce (assets + "/secrets.json");
        defaultSopsFormat = "json";
      }).config.sops.secrets.test_key.format;
    expected = "json";
  };

  "owner, and the group that follows from it" = {
    expr =
      let
        r = evaluate {
          config.imports = [
            base
            {
              users.users.nginx.group = "web";
              sops.secrets.test_key.owner = "nginx";
            }
          ];
        };
      in
      {
        inherit (builtins.head r.manifest.secrets) owner group;
        inherit (r) faults;
      };
    expected = {
      owner = "nginx";
      group = "web";
      faults = [ ];
    };
  };

  "owner by the name that the user has, not by its attribute" = {
    expr =
      (evaluate {
        config.imports = [
          base
          {
            users.users.x = {
              name = "renamed";
              group = "web";
            };
            sops.secrets.test_key.owner = "renamed";
          }
        ];
      }).config.sops.secrets.test_key.group;
    expected = "web";
  };

  "an owner whom nobody declares is an evaluation error, unless the group is given" = {
    expr = [
      (builtins.tryEval (secret "a" { owner = "nobody-knows"; }).group).success
      (secret "a" {
        owner = "nobody-knows";
        group = "wheel";
      }).group
    ];
    expected = [
      false
      "wheel"
    ];
  };

  "a name of its own" = {
    expr =
      let
        s = secret "a" {
          name = "renamed/a";
          uid = 1000;
          gid = 100;
          mode = "0440";
          restartUnits = [ "a.service" ];
          reloadUnits = [ "b.service" ];
        };
      in
      {
        inherit (s)
          name
          key
          path
          uid
          gid
          mode
          restartUnits
          reloadUnits
          ;
      };
    expected = {
      name = "renamed/a";
      key = "a";
      path = "/run/secrets/renamed/a";
      uid = 1000;
      gid = 100;
      mode = "0440";
      restartUnits = [ "a.service" ];
      reloadUnits = [ "b.service" ];
    };
  };

  "placeholders in manifests go by the name of the secret" = {
    expr =
      (with' {
        secrets.a.name = "renamed";
        templates.t.content = "x";
      }).manifest.placeholderBySecretName.renamed;
    expected = "<SOPS:${builtins.hashString "sha256" "a"}:PLACEHOLDER>";
  };

  "neededForUsers has a directory and a manifest of its own" = {
    expr =
      let
        r = with' {
          secrets.password.neededForUsers = true;
          templates.hashes = {
            neededForUsers = true;
            content = "x";
          };
        };
      in
      {
        inherit (r) faults;
        secret = r.config.sops.secrets.password.path;
        template = r.config.sops.templates.hashes.path;
        regular = map (s: s.name) r.manifest.secrets;
        users = map (s: s.name) (r.usersManifest.secrets ++ r.usersManifest.templates);
        inherit (r.usersManifest) secretsMountPoint symlinkPath;
      };
    expected = {
      faults = [ ];
      secret = "/run/secrets-for-users/password";
      template = "/run/secrets-for-users/rendered/hashes";
      regular = [ "test_key" ];
      users = [
        "password"
        "hashes"
      ];
      secretsMountPoint = "/run/secrets-for-users.d";
      symlinkPath = "/run/secrets-for-users";
    };
  };

  "templates: content, and a file instead of it" = {
    expr =
      let
        r = with' {
          templates.a.content = "password=${sops.placeholder.test_key}";
          templates.b = {
            content = "ignored";
            file = assets + "/README.md";
          };
        };
      in
      map (t: {
        inherit (t) name;
        content = t.content or null;
        file = t.file or null;
      }) r.manifest.templates;
    expected = [
      {
        name = "a";
        content = "password=<SOPS:${builtins.hashString "sha256" "test_key"}:PLACEHOLDER>";
        file = null;
      }
      {
        name = "b";
        content = null;
        file = storePath "README.md";
      }
    ];
  };

  "the manifests are attributes of system.build, with and without secrets" = {
    expr =
      let
        r = evaluate { };
      in
      {
        names = builtins.filter (lib.hasPrefix "sops") (builtins.attrNames r.config.system.build);
        inherit (r) faults;
        empty = r.manifest.secrets ++ r.usersManifest.secrets;
        scripts = builtins.attrNames (
          lib.filterAttrs (name: _: lib.hasPrefix "setup" name) r.config.system.activationScripts
        );
        hook = r.hook;
        inherit (r.config.boot.initrd) secrets;
      };
    expected = {
      names = [
        "sops-initrd-manifest"
        "sops-nix-manifest"
        "sops-nix-users-manifest"
      ];
      faults = [ ];
      empty = [ ];
      scripts = [ ];
      hook = "the stock hook";
      secrets = { };
    };
  };

  "public keys of the host are checked when manifests are built" = {
    expr =
      let
        r = with' {
          hostRecipients = [ "ssh-ed25519 AAAA root@host" ];
          secrets.i.neededForInitrd = true;
        };
      in
      map (m: r.config.system.build.${m}.checkPhase) [
        "sops-nix-manifest"
        "sops-initrd-manifest"
      ];
    expected =
      let
        check = "${sops.initrd.package}/bin/sops-initrd check --recipient 'ssh-ed25519 AAAA root@host' \"$target\"\n";
      in
      [
        "${sops.package}/bin/sops-install-secrets -check-mode=sopsfile \"$target\"\n${check}"
        check
      ];
  };

  "every option is described, and says what its default is" = {
    expr = map (o: o.name) (
      builtins.filter (
        o:
        (o.description or "") == ""
        || builtins.match ".*<(literal|xref|option|command).*" (toString (o.description.text or o.description)) != null
        || !(o ? default) && !builtins.elem o.name [ "sops.defaultSopsFile" ]
      ) visible
    );
    expected = [ ];
  };

  "the options" = {
    expr = map (o: o.name) visible;
    expected = [
      "sops.age.generateKey"
      "sops.age.keyFile"
      "sops.age.plugins"
      "sops.age.sshKeyPaths"
      "sops.defaultSopsFile"
      "sops.defaultSopsFormat"
      "sops.defaultSopsKey"
      "sops.environment"
      "sops.gnupg.home"
      "sops.gnupg.package"
      "sops.gnupg.sshKeyPaths"
      "sops.hostRecipients"
      "sops.initrd.allowInPlace"
      "sops.initrd.allowLooseKeys"
      "sops.initrd.allowedStoreSources"
      "sops.initrd.bootDirectories"
      "sops.initrd.enable"
      "sops.initrd.entries"
      "sops.initrd.environment"
      "sops.initrd.loader"
      "sops.initrd.monitor.enable"
      "sops.initrd.monitor.startAt"
      "sops.initrd.monitor.textfile"
      "sops.initrd.package"
      "sops.initrd.seal.device"
      "sops.initrd.seal.enable"
      "sops.initrd.seal.format"
      "sops.initrd.seal.parent"
      "sops.initrd.seal.pcrs"
      "sops.initrd.seal.whenNoTPM"
      "sops.initrd.separateImages"
      "sops.initrd.stateDirectory"
      "sops.initrd.validationPackage"
      "sops.initrd.whenNoKey"
      "sops.initrd.wrapLoader"
      "sops.keepGenerations"
      "sops.keyTimeout"
      "sops.lockoutGuard"
      "sops.log"
      "sops.package"
      "sops.secrets"
      "sops.secrets.<name>.extractKey"
      "sops.secrets.<name>.format"
      "sops.secrets.<name>.gid"
      "sops.secrets.<name>.group"
      "sops.secrets.<name>.initrd.credential"
      "sops.secrets.<name>.initrd.early"
      "sops.secrets.<name>.initrd.gid"
      "sops.secrets.<name>.initrd.mode"
      "sops.secrets.<name>.initrd.only"
      "sops.secrets.<name>.initrd.path"
      "sops.secrets.<name>.initrd.seal"
      "sops.secrets.<name>.initrd.uid"
      "sops.secrets.<name>.key"
      "sops.secrets.<name>.mode"
      "sops.secrets.<name>.name"
      "sops.secrets.<name>.neededForInitrd"
      "sops.secrets.<name>.neededForUsers"
      "sops.secrets.<name>.owner"
      "sops.secrets.<name>.path"
      "sops.secrets.<name>.reloadUnits"
      "sops.secrets.<name>.restartUnits"
      "sops.secrets.<name>.sopsFile"
      "sops.secrets.<name>.sopsFileHash"
      "sops.secrets.<name>.uid"
      "sops.templates"
      "sops.templates.<name>.content"
      "sops.templates.<name>.file"
      "sops.templates.<name>.gid"
      "sops.templates.<name>.group"
      "sops.templates.<name>.initrd.credential"
      "sops.templates.<name>.initrd.early"
      "sops.templates.<name>.initrd.gid"
      "sops.templates.<name>.initrd.mode"
      "sops.templates.<name>.initrd.only"
      "sops.templates.<name>.initrd.path"
      "sops.templates.<name>.initrd.seal"
      "sops.templates.<name>.initrd.uid"
      "sops.templates.<name>.mode"
      "sops.templates.<name>.name"
      "sops.templates.<name>.neededForInitrd"
      "sops.templates.<name>.neededForUsers"
      "sops.templates.<name>.owner"
      "sops.templates.<name>.path"
      "sops.templates.<name>.reloadUnits"
      "sops.templates.<name>.restartUnits"
      "sops.templates.<name>.uid"
      "sops.useSystemdActivation"
      "sops.useTmpfs"
      "sops.validateSopsFiles"
      "sops.validationPackage"
    ];
  };
}
