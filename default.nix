# The packages of this repository, without flakes.
{
  pkgs ? import <nixpkgs> { },
  vendorHash ? import ./nix/vendor-hash.nix,
}:

let
  inherit (pkgs) lib;
  inherit (pkgs.stdenv.hostPlatform) isLinux;

  build =
    full:
    pkgs.callPackage ./nix/packages/go.nix {
      inherit full vendorHash;
      inherit (pkgs.buildPackages) go-md2man;
    };
  programs = build true;
  small = build false; # of the same, without what asks clouds and vaults for keys

  # One build has all programs; each output has the ones that belong together.
  programOf =
    programs: output: name:
    programs.${output}
    // {
      meta = programs.meta // {
        mainProgram = name;
        outputsToInstall = [ output ];
      };
    };

  hook =
    name: function: pkgs.callPackage ./nix/packages/shell-hook.nix { inherit name function; };
in
{
  sops-import-keys-hook = hook "sops-import-keys-hook" "sopsImportKeysHook";
  sops-pgp-hook = hook "sops-pgp-hook" "sopsPGPHook";

  default = programs;
  sops-initrd = programs;
  sops-initrd-small = small;
  sops-init-gpg-key = programOf programs "keytools" "sops-init-gpg-key";
  ssh-to-age = programOf programs "keytools" "ssh-to-age";
  ssh-to-pgp = programOf programs "keytools" "ssh-to-pgp";
}
// lib.optionalAttrs isLinux {
  sops-install-secrets = programOf programs "activation" "sops-install-secrets";
  sops-install-secrets-small = programOf small "activation" "sops-install-secrets";
}
