{
  pkgs ? import <nixpkgs> { },
}:
let
  sops = import (builtins.fetchTarball "https://github.com/sops-initrd/sops-initrd/archive/main.tar.gz") { inherit pkgs; };
in
pkgs.mkShell {
  # Everything that ends in .asc or .gpg, with subdirectories.
  sopsPGPKeyDirs = [
    "${toString ./.}/keys/hosts"
    "${toString ./.}/keys/users"
  ];
  # A keyring of the project's own, in .git/gnupg: import your private key there once.
  # sopsCreateGPGHome = true;

  nativeBuildInputs = [ sops.sops-import-keys-hook ];
}
