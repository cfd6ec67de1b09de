# The outputs of the flake and of default.nix. nixpkgs is a stand-in, so nothing more than their
# structure is looked at.
{
  lib,
  pkgs,
  ...
}:

let
  root = ../../../..;
  flake = import (root + "/flake.nix");
  self = flake.outputs {
    inherit self;
    nixpkgs = {
      inherit lib;
      legacyPackages =
        lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (_: pkgs)
        // lib.genAttrs [ "x86_64-darwin" "aarch64-darwin" ] (_: mac);
    };
  };
  packages = import root { inherit pkgs; };
  mac = import ../stand-ins/pkgs.nix {
    inherit lib;
    isLinux = false;
  };
  throws = value: !(builtins.tryEval value).success;

  names = [
    "default"
    "sops-import-keys-hook"
    "sops-init-gpg-key"
    "sops-initrd"
    "sops-initrd-small"
    "sops-install-secrets"
    "sops-install-secrets-small"
    "sops-pgp-hook"
    "ssh-to-age"
    "ssh-to-pgp"
  ];
in
{
  "default.nix has the packages, and runs the right program of each" = {
    expr = lib.mapAttrs (_: p: {
      inherit (p) name;
      program = p.meta.mainProgram or null;
    }) packages;
    expected =
      let
        keytools = program: {
          name = "sops-initrd-0.2.0-keytools";
          inherit program;
        };
        hook = name: {
          inherit name;
          program = null;
        };
        initrd = {
          name = "sops-initrd-0.2.0";
          program = "sops-initrd";
        };
      in
      {
        default = initrd;
        sops-initrd = initrd;
        sops-install-secrets = {
          name = "sops-initrd-0.2.0-activation";
          program = "sops-install-secrets";
        };
        sops-initrd-small = {
          name = "sops-initrd-small-0.2.0";
          program = "sops-initrd";
        };
        sops-install-secrets-small = {
          name = "sops-initrd-small-0.2.0-activation";
          program = "sops-install-secrets";
        };
        sops-init-gpg-key = keytools "sops-init-gpg-key";
        ssh-to-age = keytools "ssh-to-age";
        ssh-to-pgp = keytools "ssh-to-pgp";
        sops-import-keys-hook = hook "sops-import-keys-hook";
        sops-pgp-hook = hook "sops-pgp-hook";
      };
  };

  "the flake has them for Linux, and for macOS what installs nothing on a host" = {
    expr = lib.mapAttrs (_: builtins.attrNames) self.packages;
    expected =
      lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (_: names)
      // lib.genAttrs [ "x86_64-darwin" "aarch64-darwin" ] (
        _: lib.filter (name: !lib.hasPrefix "sops-install-secrets" name) names
      );
  };

  "a profile and a system get the program and the manual, not the closure of the key tools" = {
    expr = lib.mapAttrs (_: p: p.meta.outputsToInstall) {
      inherit (packages) sops-initrd sops-install-secrets ssh-to-age;
    };
    expected = {
      sops-initrd = [
        "out"
        "man"
      ];
      sops-install-secrets = [ "activation" ];
      ssh-to-age = [ "keytools" ];
    };
  };

  "the package's tests are short, all of them a test of their own" = {
    expr = {
      short = lib.hasInfix "test_programs" packages.default.arguments.checkPhase;
      all = lib.hasInfix "go test ./cmd/... ./initrd/... ./internal/..." packages.default.passthru.tests.go.arguments.checkPhase;
      inChecks = self.checks.x86_64-linux.go-tests.name;
    };
    expected = {
      short = true;
      all = true;
      inChecks = "sops-initrd-tests";
    };
  };

  "the flake's other outputs" = {
    expr = {
      modules = lib.mapAttrs (_: toString) self.nixosModules;
      checks = builtins.attrNames (removeAttrs self.checks.x86_64-linux (names ++ builtins.filter (lib.hasPrefix "nixos-") (builtins.attrNames self.checks.x86_64-linux)));
      shells = builtins.attrNames self.devShells.x86_64-linux;
      formatter = self.formatter.aarch64-linux.name;
    };
    expected = {
      modules = {
        sops = toString (root + "/modules/sops");
        default = toString (root + "/modules/sops");
      };
      checks = [
        "evaluation"
        "go-tests"
        "option-docs"
      ];
      shells = [ "default" ];
      formatter = "nixfmt-tree";
    };
  };

  "the options reference has the options of sops and no others" = {
    expr =
      let
        inherit (self.checks.x86_64-linux.option-docs) options;
        names = map (o: o.name) options;
      in
      {
        others = builtins.filter (name: !lib.hasPrefix "sops." name) names;
        some = builtins.filter (name: builtins.elem name names) [
          "sops.secrets.<name>.neededForInitrd"
          "sops.templates.<name>.content"
          "sops.initrd.enable"
        ];
        rendered = builtins.deepSeq options true;
      };
    expected = {
      others = [ ];
      some = [
        "sops.secrets.<name>.neededForInitrd"
        "sops.templates.<name>.content"
        "sops.initrd.enable"
      ];
      rendered = true;
    };
  };

  "home-manager's module has the names that users know, and nix-darwin's says whose to use" = {
    expr = {
      home = map (module: (import module).imports) [
        self.homeManagerModules.sops
        self.homeManagerModules.default
        self.homeManagerModule
        self.homeModules.sops
        self.homeModules.default
      ];
      darwin = map throws [
        self.darwinModules.sops
        self.darwinModules.default
      ];
    };
    expected = {
      home = lib.genList (_: [ (root + "/home") ]) 5;
      darwin = [
        true
        true
      ];
    };
  };

  "the overlay adds the packages under the names that users know" = {
    expr = builtins.attrNames (self.overlays.default pkgs pkgs);
    expected = lib.subtractLists [ "default" "ssh-to-age" "ssh-to-pgp" ] names;
  };

  "the lock is of the branch that the flake names" = {
    expr =
      let
        node = (lib.importJSON (root + "/flake.lock")).nodes.nixpkgs;
      in
      {
        url = "github:${node.original.owner}/${node.original.repo}/${node.original.ref}";
        inherit (node.locked) rev narHash lastModified;
      };
    expected = {
      inherit (flake.inputs.nixpkgs) url;
      rev = "e2587caef70cea85dd97d7daab492899902dbf5d";
      narHash = "sha256-wWFrV5/Qbm+lyt5x20E/bSbfJiGKMo4RCxZV8cl/WZI=";
      lastModified = 1784796856;
    };
  };
}
