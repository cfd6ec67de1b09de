# What the stand-in for nixos-rebuild needs to know of a configuration: the flake or configuration of a reader of the
# documentation, evaluated with this repository's module and the stand-ins for NixOS of nixos/tests/eval.
{
  libPath, # lib of a nixpkgs
  repo, # this repository
  directory, # of the reader's configuration
  host,
}:

let
  lib = import (/. + libPath);
  inherit (import (/. + "${repo}/nixos/tests/eval/evaluate.nix") { inherit lib; }) evaluate pkgs;

  system =
    { modules, ... }:
    evaluate {
      config.imports = modules ++ [ (/. + "${repo}/docs/stage/nixos.nix") ];
    };

  nixpkgs = {
    lib = lib // {
      nixosSystem = system;
    };
    legacyPackages.x86_64-linux = pkgs;
  };
  sops = {
    nixosModules = rec {
      sops = /. + "${repo}/modules/sops";
      default = sops;
    };
    packages.x86_64-linux = import (/. + repo) { inherit pkgs; };
  };

  flake = import (/. + "${directory}/flake.nix");
  self = flake.outputs {
    inherit self nixpkgs;
    sops-initrd = sops;
    sops-nix = sops;
  };
  result =
    if builtins.pathExists (/. + "${directory}/flake.nix") then
      self.nixosConfigurations.${host}
    else
      system { modules = [ (/. + "${directory}/configuration.nix") ]; };

  inherit (result) config;
  script = name: config.system.activationScripts.${name}.text or "";
  file = f: {
    path = f.outPath + (f.destination or "");
    inherit (f) text;
  };
  build = config.system.build;
in
{
  inherit (result) faults warnings;
  hook = if config.sops.initrd.active then build.initialRamdiskSecretAppender.outPath + "/bin/append-initrd-secrets" else null;
  manifest = if config.sops.initrd.active then build.sops-initrd-manifest.outPath else "";
  installed = builtins.elem config.sops.initrd.package config.environment.systemPackages;
  activation = map script [
    "generate-age-key"
    "setupSecretsForUsers"
    "setupSecrets"
  ];
  base = "${build.initialRamdisk}/${config.system.boot.loader.initrdFile}";
  files =
    map file [
      build.sops-nix-manifest
      build.sops-nix-users-manifest
    ]
    ++ lib.optionals config.sops.initrd.active [
      (file build.sops-initrd-manifest)
      (file build.initialRamdiskSecretAppender)
    ];
  users = lib.mapAttrsToList (_: user: { inherit (user) name group; }) config.users.users;
  sshPort = config.boot.initrd.network.ssh.port;
  sshKeys = config.boot.initrd.network.ssh.authorizedKeys;
  sshHostKeys = map toString config.boot.initrd.network.ssh.hostKeys;
}
