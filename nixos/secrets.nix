# sops.secrets: values of sops files.
{ formats, paths, ... }:
{ config, lib, ... }:

let
  inherit (lib) literalExpression mkOption types;

  cfg = config.sops;

  placement = import ./secret-type.nix {
    inherit lib;
    users = config.users.users;
    kind = "secrets";
    noun = "secret";
    seal = config.sops.initrd.seal.enable;
    directory = "";
  };

  source = import ./secret-source.nix {
    inherit
      lib
      cfg
      formats
      paths
      ;
    trigger = "systemd.services.<name>.restartTriggers";
  };
in
{
  options.sops.secrets = mkOption {
    type = types.attrsOf (
      types.submodule (
        { config, name, ... }@args:
        {
          options = (placement args).options // source args;
        }
      )
    );
    default = { };
    example = literalExpression ''
      {
        "database/password".owner = "postgres";
        initrd-ssh-key.neededForInitrd = true;
      }
    '';
    description = ''
      Secrets that are decrypted from sops files and installed in {file}`/run/secrets`, the initrd,
      or both.
    '';
  };
}
