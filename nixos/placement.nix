# What a secret and a template have in common wherever they are installed: a name, a place, a mode,
# and units that use them. Defaults that depend on the item are left to who declares it.
{
  lib,
  noun, # what one of them is called in descriptions
  directory, # where they are installed
  path, # the default path, for descriptions
  triggers, # { restart, reload }: options of units that do the same, for descriptions
}:

let
  inherit (lib) literalMD mkOption types;

  units =
    done: option:
    mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "nginx.service" ];
      description = ''
        Units that are ${done} when the ${noun} changes, as
        {option}`${option}` does for configuration.
      '';
    };
in
{
  name = mkOption {
    type = types.singleLineStr;
    defaultText = literalMD "the attribute name";
    description = ''
      The name of the file in {file}`${directory}`. It may contain slashes.
    '';
  };

  path = mkOption {
    type = types.singleLineStr;
    defaultText = literalMD path;
    description = ''
      Where the ${noun} is found. Another path than the default one becomes a symbolic link to the
      file.
    '';
  };

  mode = mkOption {
    type = types.strMatching "0?[0-7]{1,4}" // {
      description = "octal number of up to four digits";
    };
    default = "0400";
    description = "The permissions of the file, in octal.";
  };

  restartUnits = units "restarted" triggers.restart;
  reloadUnits = units "reloaded" triggers.reload;
}
