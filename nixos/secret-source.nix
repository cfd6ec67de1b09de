# Where the value of a secret comes from: options of the submodule of secrets, given its arguments.
{
  lib,
  cfg, # config.sops
  formats,
  paths,
  trigger, # option of a unit that the hash of a file is meant for, for descriptions
}:

let
  inherit (lib)
    literalExpression
    literalMD
    mkOption
    types
    ;

  # Declared once, not anew for each of hundreds of secrets; source has the defaults that depend on one.
  declared = {
    sopsFile = mkOption {
      type = types.path;
      default = cfg.defaultSopsFile;
      defaultText = literalExpression "config.sops.defaultSopsFile";
      example = literalExpression "./host-keys.yaml";
      description = "The sops file that has the secret.";
    };

    sopsFileHash = mkOption {
      type = types.str;
      defaultText = literalMD "the SHA-256 of {option}`sopsFile`; nothing without {option}`sops.validateSopsFiles`";
      readOnly = true;
      description = ''
        A hash of the encrypted sops file, for
        {option}`${trigger}`. For a file that has to be built it is
        one of its path, so that evaluating does not build it.
      '';
    };

    format = mkOption {
      type = types.enum formats.all;
      default = cfg.defaultSopsFormat;
      defaultText = literalExpression "config.sops.defaultSopsFormat";
      description = "The format of the sops file.";
    };

    key = mkOption {
      type = types.str;
      defaultText = literalMD (
        "{option}`sops.defaultSopsKey` or the attribute name; "
        + "`\"\"` for binary, dotenv and INI files"
      );
      example = "database/password";
      description = ''
        The key of the value in the sops file; slashes lead into nested maps (into a section of
        an INI file). `""` stands for the whole file, as does any key of a binary file, and of a
        dotenv or INI file without {option}`extractKey`.
      '';
    };

    extractKey = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether {option}`key` counts for a dotenv or INI file, so that its value alone is
        installed. By default such a file is installed as a whole, whatever {option}`key` says,
        as by sops-nix.
      '';
    };
  };
in
{ config, name, ... }:
declared
// {
  sopsFileHash = declared.sopsFileHash // {
    default = lib.optionalString cfg.validateSopsFiles (
      # The path of a file that has to be built changes with its content. Reading it would build
      # it now.
      if paths.needsBuild config.sopsFile then
        builtins.hashString "sha256" (paths.plain config.sopsFile)
      else
        builtins.hashFile "sha256" config.sopsFile
    );
  };
  key = declared.key // {
    default =
      if builtins.elem config.format formats.whole then
        ""
      else if cfg.defaultSopsKey != null then
        cfg.defaultSopsKey
      else
        name;
  };
}
