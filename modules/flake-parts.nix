# For flake-parts: a check for every host and every user of home-manager in a flake, which fails where
# a sops file lacks a key that is asked for, or is encrypted for none of the host's keys.
{
  config,
  lib,
  self,
  ...
}:

let
  inherit (lib) literalExpression mkOption types;

  # The manifests of what has this project's modules.
  ofHost =
    host:
    lib.optionals (host.options ? sops.initrd) [
      host.config.system.build.sops-nix-manifest
      host.config.system.build.sops-nix-users-manifest
    ]
    ++ lib.optional (
      host.options ? sops.initrd && host.config.sops.initrd.entries != [ ]
    ) host.config.system.build.sops-initrd-manifest;
  ofUser = user: lib.optional (user.options ? sops.manifest) user.config.sops.manifest.file;

  checksOf =
    system: kind: manifestsOf: configurations:
    lib.concatMapAttrs (
      name: it:
      let
        manifests = manifestsOf it;
        recipients = it.config.sops.hostRecipients ++ config.sops-initrd.hostRecipients.${name} or [ ];
        arguments =
          if it.config.sops.validateSopsFiles then
            lib.concatMapStrings (key: " --recipient ${lib.escapeShellArg (lib.trim key)}") recipients
          else
            " --manifest-only";
        program = (import ../default.nix { pkgs = it.pkgs.pkgsBuildHost; }).sops-initrd;
      in
      lib.optionalAttrs (it.pkgs.stdenv.hostPlatform.system == system && manifests != [ ]) {
        "sops-${kind}-${name}" =
          it.pkgs.pkgsBuildHost.runCommand "sops-${kind}-${lib.strings.sanitizeDerivationName name}" { }
            ''
              for manifest in ${toString manifests}; do
                ${program}/bin/sops-initrd check${arguments} "$manifest"
              done
              touch $out
            '';
      }
    ) configurations;
in
{
  options.sops-initrd.hostRecipients = mkOption {
    type = types.attrsOf (types.listOf types.singleLineStr);
    default = { };
    example = literalExpression ''{ server01 = [ (builtins.readFile ./hosts/server01.pub) ]; }'';
    description = ''
      By the names of `nixosConfigurations` and `homeConfigurations`, the public keys of which one has
      to be able to decrypt every sops file: age recipients, SSH public keys or OpenPGP fingerprints.
      Those of the host's own option {option}`sops.hostRecipients` count as well.
    '';
  };

  config.perSystem =
    { system, ... }:
    {
      checks =
        checksOf system "host" ofHost (self.nixosConfigurations or { })
        // checksOf system "user" ofUser (self.homeConfigurations or { });
    };
}
