# sops.secrets: values of sops files.
{ formats, ... }:
{ config, lib, ... }:

let
  inherit (lib)
    literalExpression
    literalMD
    mkOption
    types
    ;

  cfg = config.sops;

  placement = import ./secret-type.nix {
    inherit lib;
    users = config.users.users;
    kind = "secrets";
    noun = "secret";
    directory = "";
  };

  source =
    { config, name, ... }:
    {
      options = {
        sopsFile = mkOption {
          type = types.path;
          default = cfg.defaultSopsFile;
          defaultText = literalExpression "config.sops.defaultSopsFile";
          example = literalExpression "./host-keys.yaml";
          description = "The sops file that has the secret.";
        };

        sopsFileHash = mkOption {
          type = types.str;
          default = lib.optionalString cfg.validateSopsFiles (builtins.hashFile "sha256" config.sopsFile);
          defaultText = literalMD "the SHA-256 of {option}`sopsFile`, or nothing where {option}`sops.validateSopsFiles` is off";
          readOnly = true;
          description = "A hash of the encrypted sops file, for {option}`systemd.services.<name>.restartTriggers`.";
        };

        format = mkOption {
          type = types.enum formats.all;
          default = cfg.defaultSopsFormat;
          defaultText = literalExpression "config.sops.defaultSopsFormat";
          description = "The format of the sops file.";
        };

        key = mkOption {
          type = types.str;
          default =
            if builtins.elem config.format formats.whole then
              ""
            else if cfg.defaultSopsKey != null then
              cfg.defaultSopsKey
            else
              name;
          defaultText = literalMD "{option}`sops.defaultSopsKey` or the attribute name; `\"\"` for binary, dotenv and INI files";
          example = "database/password";
          description = ''
            The key of the value in the sops file; slashes lead into nested maps (into a section of an INI file). `""` stands
            for the whole file, as does any key of a binary file.
          '';
        };
      };
    };
in
{
  options.sops.secrets = mkOption {
    type = types.attrsOf (
      types.submodule [
        placement
        source
      ]
    );
    default = { };
    example = literalExpression ''
      {
        "database/password".owner = "postgres";
        initrd-ssh-key.neededForInitrd = true;
      }
    '';
    description = "Secrets that are decrypted from sops files and installed in {file}`/run/secrets`, the initrd, or both.";
  };
}
