# The text of templates, and the placeholders in it.
{ lib, placeholders }:

let
  inherit (lib) literalExpression mkOption types;
in
{
  # A module of the submodule of templates.
  options =
    pkgs:
    { config, options, ... }:
    {
      options = {
        content = mkOption {
          type = types.lines;
          default = "";
          example = literalExpression "\"password=\${config.sops.placeholder.password}\"";
          description = ''
            The text of the template. The value of a secret takes the place of its
            `config.sops.placeholder.<name>`.
          '';
        };

        file = mkOption {
          type = types.path;
          default = pkgs.writeText (baseNameOf config.name) config.content;
          defaultText = literalExpression "pkgs.writeText name content";
          example = literalExpression "./application.conf.template";
          description = "A file with the text of the template, used instead of {option}`content`.";
        };

        hasFile = mkOption {
          type = types.bool;
          internal = true;
          readOnly = true;
          default = options.file.highestPrio < (lib.mkOptionDefault null).priority;
          description = "Whether {option}`file` is set.";
        };
      };
    };

  # The module that declares them.
  placeholders =
    { config, ... }:
    {
      options.sops.placeholder = mkOption {
        type = types.attrsOf (
          types.mkOptionType {
            name = "placeholder";
            description = "value that can be converted to a string";
            check = lib.strings.isConvertibleWithToString;
            merge = lib.mergeEqualOption;
          }
        );
        default = { };
        visible = false;
        description = "By the name of a secret, the text that stands for its value in templates.";
      };

      config.sops.placeholder = lib.mapAttrs (
        name: _: lib.mkDefault (placeholders.default name)
      ) config.sops.secrets;
    };
}
