# Secrets from sops files, at activation and in the initrd. Every file is one concern.
{
  imports = [
    ./options.nix
    ./secrets.nix
    ./templates.nix
    ./manifest.nix
    ./activation.nix
    ./units.nix
    ./initrd.nix
    ./stage-1.nix
    ./loader.nix
    ./assertions.nix
    ./initrd-assertions.nix
  ];
}
