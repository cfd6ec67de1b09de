# The packages of this repository, without flakes.
{
  pkgs ? import <nixpkgs> { },
  vendorHash ? import ./nix/vendor-hash.nix,
}:

let
  build =
    full:
    pkgs.callPackage ./nix/packages/go.nix {
      inherit full vendorHash;
      inherit (pkgs.buildPackages) go-md2man;
    };
  programs = build true;
  small = build false; # of the same, without what asks clouds and vaults for keys

  # One build has all programs; each output has the ones that belong together.
  program = programOf programs;
  programOf =
    programs: output: name:
    programs.${output}
    // {
      meta = programs.meta // {
        mainProgram = name;
      };
    };
in
{
  default = programs;
  sops-initrd = programs;
  sops-install-secrets = program "activation" "sops-install-secrets";
  sops-initrd-small = small;
  sops-install-secrets-small = programOf small "activation" "sops-install-secrets";
  sops-init-gpg-key = program "keytools" "sops-init-gpg-key";
  ssh-to-age = program "keytools" "ssh-to-age";
  ssh-to-pgp = program "keytools" "ssh-to-pgp";

  sops-import-keys-hook = pkgs.callPackage ./nix/packages/shell-hook.nix {
    name = "sops-import-keys-hook";
    function = "sopsImportKeysHook";
  };
  sops-pgp-hook = pkgs.callPackage ./nix/packages/shell-hook.nix {
    name = "sops-pgp-hook";
    function = "sopsPGPHook";
  };
}
