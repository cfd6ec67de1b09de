# The configuration as the manifest that sops-install-secrets reads.
{
  formats,
  paths,
  ...
}:
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib) mkOption types;

  cfg = config.sops;
  writer = import ../nixos/manifest-writer.nix {
    inherit
      lib
      pkgs
      cfg
      formats
      paths
      ;
  };
  buildPrograms = import ../default.nix { pkgs = pkgs.pkgsBuildHost; };
in
{
  options.sops.manifest = mkOption {
    type = types.lazyAttrsOf types.unspecified; # a file that cannot be made is no reason not to say why
    internal = true;
    description = "The manifest, the script that installs it, and what is wrong with the sops files of each secret.";
  };

  config.sops.manifest = {
    file = writer.activation {
      suffix = "";
      inherit (cfg) secrets templates;
      secretsMountPoint = cfg.defaultSecretsMountPoint;
      symlinkPath = cfg.defaultSymlinkPath;
      checkRecipients = "${buildPrograms.sops-initrd}/bin/sops-initrd check${writer.recipients}";
      extra.userMode = true;
    };
    inherit (writer) fileFaults;
  };
}
