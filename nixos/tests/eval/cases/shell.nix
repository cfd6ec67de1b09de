# The shell.nix of the documentation, with this repository as what it downloads.
{ pkgs, ... }:

let
  shell =
    (builtins.scopedImport {
      __findFile = _: name: if name == "nixpkgs" then _: pkgs else throw "<${name}> is not there";
      builtins = builtins // {
        fetchTarball =
          url:
          if url == "https://github.com/sops-initrd/sops-initrd/archive/main.tar.gz" then
            ../../../..
          else
            throw "${url} is not there";
      };
    } ../../../../docs/examples/shell/shell.nix)
      { inherit pkgs; };
in
{
  "the hook is there, and knows the directories of keys" = {
    expr = {
      hooks = map (hook: hook.name) shell.arguments.nativeBuildInputs;
      keys = map baseNameOf shell.arguments.sopsPGPKeyDirs;
    };
    expected = {
      hooks = [ "sops-import-keys-hook" ];
      keys = [
        "hosts"
        "users"
      ];
    };
  };
}
