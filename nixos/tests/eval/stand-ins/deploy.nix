# What deployment tools make of a configuration: each takes an example of the documentation as the
# tool does, with options of the same names and types and no others, and gives the host's
# configuration and what is known of its deployment. Read in their sources, July 2026: colmena
# 5bf4ce6, morph a529f37, nixus b12665b, deploy-rs d5eff7f, krops a6c7ecd, NixOps fd4b8031.
{
  lib,
  pkgs,
  evaluate,
  repository, # the root of this repository
}:

let
  inherit (lib) mkOption types;
  option = type: default: mkOption { inherit type default; };
  required = type: mkOption { inherit type; };

  flake = {
    nixosModules.sops = repository + "/modules/sops";
  };
  # A host, with the options that a tool adds to those of NixOS.
  host =
    modules: deployment:
    evaluate {
      config.imports = modules ++ [
        {
          options.deployment = deployment;
          # The sops file is the reader's.
          config.sops.defaultSopsFile = lib.mkForce (repository + "/nixos/tests/assets/secrets.yaml");
        }
      ];
    };

  # import, with <...> and fetchers that find what a reader has; only of the file itself.
  read =
    paths: file:
    builtins.scopedImport {
      __findFile = _: name: paths.${name} or (throw "<${name}> is not there");
      builtins = builtins // {
        fetchTarball = url: paths.${url} or (throw "${url} is not there");
        fetchGit = source: paths.${source.url} or (throw "${source.url} is not there");
      };
      import =
        path:
        if builtins.isFunction path then
          path
        else if path ? imported then
          path.imported
        else
          builtins.import path;
    } file;

  nixpkgs = _: pkgs;
  ours = "https://github.com/sops-initrd/sops-initrd/archive/main.tar.gz";
  node = network: removeAttrs network [ "network" ];
in
{
  # src/nix/hive/options.nix, src/nix/hive/eval.nix
  colmena =
    file:
    let
      hive =
        (read { } file).outputs {
          nixpkgs.imported = nixpkgs;
          sops-initrd = flake;
          colmena.lib.makeHive = h: h;
        };
      inherit (hive) colmenaHive;
      meta =
        (lib.evalModules {
          modules = [
            {
              options = {
                name = option types.str "hive";
                description = option types.str "A Colmena Hive";
                nixpkgs = option types.unspecified null;
                nodeNixpkgs = option (types.attrsOf types.unspecified) { };
                nodeSpecialArgs = option (types.attrsOf types.unspecified) { };
                machinesFile = option (types.nullOr types.path) null;
                specialArgs = option (types.attrsOf types.unspecified) { };
                allowApplyAll = option types.bool true;
              };
            }
            colmenaHive.meta
          ];
        }).config;
    in
    assert meta.nixpkgs == pkgs;
    lib.mapAttrs (
      name: config:
      host
        [
          colmenaHive.defaults
          config
        ]
        {
          targetHost = option (types.nullOr types.str) name;
          targetPort = option (types.nullOr types.ints.unsigned) null;
          targetUser = option (types.nullOr types.str) "root";
          allowLocalDeployment = option types.bool false;
          buildOnTarget = option types.bool false;
          tags = option (types.listOf types.str) [ ];
          keys = option (types.attrsOf types.unspecified) { };
          replaceUnknownProfiles = option types.bool true;
          privilegeEscalationCommand = option (types.listOf types.str) [ ];
          sshOptions = option (types.listOf types.str) [ ];
        }
    ) (removeAttrs colmenaHive [ "meta" "defaults" ]);

  # data/options.nix, data/eval-machines.nix
  morph =
    file:
    let
      network = read {
        inherit nixpkgs;
        ${ours} = toString repository;
      } file;
    in
    assert network.network.pkgs == pkgs;
    lib.mapAttrs (
      _: config:
      host [ config ] {
        targetHost = option types.str "";
        targetPort = option (types.nullOr types.int) null;
        targetUser = option types.str "";
        buildOnly = option types.bool false;
        substituteOnDestination = option types.bool false;
        secrets = option (types.attrsOf types.unspecified) { };
        healthChecks = option types.unspecified { };
        preDeployChecks = option types.unspecified { };
        tags = option (types.listOf types.str) [ ];
      }
    ) (node network);

  # nix/options.nix, nix/eval-machine-info.nix, nixops/evaluation.py
  nixops =
    file:
    let
      network = read { ${ours} = toString repository; } file;
    in
    assert lib.attrNames network.network.storage == [ "legacy" ];
    lib.mapAttrs (
      _: config:
      host [ config ] {
        targetEnv = option types.str "none";
        targetUser = option types.str "root";
        targetHost = required types.str;
        provisionSSHKey = option types.bool true;
        targetPort = option types.int 22;
        sshOptions = option (types.listOf types.str) [ ];
        privilegeEscalationCommand = option (types.listOf types.str) [ ];
        alwaysActivate = option types.bool true;
        owners = option (types.listOf types.str) [ ];
        hasFastConnection = option types.bool false;
        keys = option (types.attrsOf types.unspecified) { };
      }
    ) (node network);

  # build.nix, modules/options.nix, modules/deploy.nix
  nixus =
    file:
    let
      network = read {
        inherit nixpkgs;
        ${ours} = toString repository;
        "https://github.com/infinisil/nixus/archive/master.tar.gz".imported = _: conf: conf;
      } file;
      deployment = {
        nixpkgs = required types.unspecified;
        configuration = option types.deferredModule { };
        privilegeEscalationCommand = option (types.listOf types.str) [ "sudo" ];
        enable = option types.bool true;
        successTimeout = option types.ints.unsigned 20;
        switchTimeout = option types.ints.unsigned 60;
        ignoreFailingSystemdUnits = option types.bool false;
        host = required types.str;
        hasFastConnection = option types.bool false;
      };
    in
    lib.mapAttrs (
      _: n:
      let
        checked =
          (lib.evalModules {
            modules = [
              { options = deployment; }
              network.defaults
              n
            ];
          }).config;
      in
      host [
        checked.configuration
        { deployment.targetHost = checked.host; }
      ] { targetHost = required types.str; }
    ) network.nodes;

  # interface.json, flake.nix
  deploy-rs =
    file:
    let
      outputs = (import file).outputs {
        self = outputs;
        nixpkgs.lib.nixosSystem = system: host system.modules { targetHost = option types.str ""; };
        sops-initrd = flake;
        deploy-rs.lib.x86_64-linux.activate.nixos = base: { inherit base; };
      };
      generic = {
        sshUser = option types.str "";
        user = option types.str "";
        sshOpts = option (types.listOf types.str) [ ];
        fastConnection = option types.bool false;
        autoRollback = option types.bool true;
        magicRollback = option types.bool true;
        confirmTimeout = option types.int 30;
        activationTimeout = option types.int 240;
        tempPath = option types.str "/tmp";
        interactiveSudo = option types.bool false;
        sudo = option types.str "sudo -u";
        remoteBuild = option types.bool false;
      };
      deploy =
        (lib.evalModules {
          modules = [
            {
              options = generic // {
                nodes = option (types.attrsOf (
                  types.submodule {
                    options = generic // {
                      hostname = required types.str;
                      profilesOrder = option (types.listOf types.str) [ ];
                      profiles = option (types.attrsOf (
                        types.submodule {
                          options = generic // {
                            path = required types.unspecified;
                            profilePath = option types.str "";
                          };
                        }
                      )) { };
                    };
                  }
                )) { };
              };
            }
            outputs.deploy
          ];
        }).config;
    in
    lib.mapAttrs (
      _: n:
      n.profiles.system.path.base
      // {
        config = n.profiles.system.path.base.config // {
          deployment.targetHost = n.hostname;
        };
      }
    ) deploy.nodes;

  # pkgs/krops/default.nix, lib/default.nix, lib/types/populate.nix: the target builds what lies
  # below /var/src there
  krops =
    file:
    let
      git = {
        clean.exclude = option (types.listOf types.str) [ ];
        fetchAlways = option types.bool false;
        ref = required types.str;
        url = required types.str;
        shallow = option types.bool false;
      };
      directory = dirOf file;
      deployed = builtins.scopedImport {
        builtins = builtins // {
          fetchGit = source: source.url;
        };
        import =
          path:
          {
            "https://cgit.krebsco.de/krops//lib".evalSource =
              sources:
              (lib.evalModules {
                modules = map (source: { inherit source; }) sources ++ [
                  {
                    options.source = mkOption {
                      type = types.attrsOf (
                        types.submodule {
                          options = {
                            git = option (types.nullOr (types.submodule { options = git; })) null;
                            file = option (types.nullOr types.str) null;
                            symlink = option (types.nullOr types.str) null;
                          };
                        }
                      );
                    };
                  }
                ];
              }).config.source;
            "https://cgit.krebsco.de/krops//pkgs" = _: {
              krops.writeDeploy =
                name:
                {
                  source,
                  target,
                  operation ? "switch",
                }:
                {
                  inherit source target operation;
                };
            };
          }
          .${path};
      } file;
      inherit (deployed) source;
      # A symlink leads to a file below /var/src.
      parts = lib.splitString "/" source.nixos-config.symlink;
      configuration = /. + "${source.${builtins.head parts}.file}/${lib.concatStringsSep "/" (builtins.tail parts)}";
    in
    assert source ? nixpkgs && source.sops-initrd.git.url == "https://github.com/sops-initrd/sops-initrd";
    assert deployed.operation == "switch" && toString directory == source.config.file;
    {
      server01 = host [
        (builtins.scopedImport {
          __findFile =
            _: name:
            if lib.hasPrefix "sops-initrd/" name then
              repository + "/${lib.removePrefix "sops-initrd/" name}"
            else
              throw "<${name}> is not below /var/src";
        } configuration)
        { deployment.targetHost = lib.removePrefix "root@" deployed.target; }
      ] { targetHost = required types.str; };
    };
}
