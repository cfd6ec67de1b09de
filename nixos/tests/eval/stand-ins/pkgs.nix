# A stand-in for nixpkgs' packages: derivations are attribute sets that nobody builds. Their store
# paths depend on what is in them, so that a change of content is a change of path, and their texts
# can be read back.
{
  lib,
  suffix ? "", # of all names, to tell packages of two platforms apart
  isLinux ? true,
}:

let
  # The alphabet of store paths is a subset of that of hexadecimal digits' hashes: 32 characters.
  pathFor =
    name: content:
    "/nix/store/${builtins.substring 0 32 (builtins.hashString "sha256" (name + "\n" + content))}-${name}";

  derivation =
    base: attributes:
    let
      name = base + suffix;
      outPath = pathFor name (attributes.text or "");
      self = {
        type = "derivation";
        inherit name outPath;
        drvPath = "${outPath}.drv";
        outputName = "out";
        system = "x86_64-linux";
        meta = { };
        override = _: self;
        overrideAttrs = _: self;
      }
      // attributes;
    in
    self;

  writeTextFile =
    {
      name,
      text,
      executable ? false,
      destination ? "",
      checkPhase ? "",
    }:
    derivation name {
      inherit
        text
        executable
        destination
        checkPhase
        ;
    };

  # buildGoModule with what default.nix looks at: outputs and passed attributes.
  buildGoModule =
    function:
    let
      arguments = lib.fix (
        self:
        function (
          self
          // {
            finalPackage.overrideAttrs = f: derivation "${self.pname}-tests" { arguments = self // f self; };
          }
        )
      );
      name = "${arguments.pname}-${arguments.version}";
      outputs = lib.genAttrs arguments.outputs (
        output:
        derivation (if output == "out" then name else "${name}-${output}") {
          inherit (arguments) meta passthru;
          outputName = output;
        }
      );
    in
    outputs.out // outputs // { inherit arguments; };

  platform = {
    system = if isLinux then "x86_64-linux" else "x86_64-darwin";
    inherit isLinux;
    canExecute = _: true;
  };

  pkgs =
    lib.genAttrs [
      "age"
      "age-plugin-tpm"
      "bash"
      "bashInteractive"
      "coreutils"
      "cryptsetup"
      "deadnix"
      "gnupg"
      "go-md2man"
      "installShellFiles"
      "makeWrapper"
      "nix"
      "nixfmt"
      "nixfmt-tree"
      "openssh"
      "ssh-to-age"
      "ssh-to-pgp"
      "statix"
      "sops"
      "systemd"
      "tailscale"
    ] (name: derivation name { })
    // {
      inherit lib writeTextFile buildGoModule;
      writeText = name: text: writeTextFile { inherit name text; };
      makeSetupHook = arguments: script: derivation arguments.name { inherit arguments script; };
      mkShell = arguments: derivation "shell" { inherit arguments; };
      fetchFromGitHub = source: derivation source.repo { inherit source; };
      runCommand = name: _: text: derivation name { inherit text; };
      nixosOptionsDoc = arguments: {
        optionsCommonMark = derivation "options.md" {
          options = builtins.filter (o: o.visible && !o.internal) (
            lib.optionAttrSetToDocList arguments.options
          );
        };
      };
      # nixos/lib/testing: the test's own modules, not yet its nodes.
      testers.runNixOSTest =
        module:
        derivation "test" {
          test =
            (lib.evalModules {
              modules = [
                ./test.nix
                module
              ];
            }).config;
        };
      path = "/nixpkgs";
      runtimeShell = "${pkgs.bash}/bin/bash";
      stdenv = {
        inherit isLinux;
        buildPlatform = platform;
        hostPlatform = platform;
        shellDryRun = "${pkgs.bash}/bin/bash -n";
      };
      inherit pkgs;
      pkgsBuildHost = pkgs;
      buildPackages = pkgs;
      callPackage =
        file: extra:
        let
          function = import file;
        in
        function (builtins.intersectAttrs (builtins.functionArgs function) (pkgs // extra));
    };
in
pkgs
