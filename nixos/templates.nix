# sops.templates: files with the values of secrets in them.
{ template-text, ... }:
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib) literalExpression mkOption types;

  placement = import ./secret-type.nix {
    inherit lib;
    users = config.users.users;
    kind = "templates";
    noun = "rendered template";
    seal = config.sops.initrd.seal.enable;
    directory = "/rendered";
  };
in
{
  imports = [ template-text.placeholders ];

  options.sops.templates = mkOption {
    type = types.attrsOf (
      types.submodule [
        placement
        (template-text.options pkgs)
      ]
    );
    default = { };
    example = literalExpression ''
      { "application.conf".content = "password=''${config.sops.placeholder.password}"; }
    '';
    description = ''
      Files that are rendered from secrets and installed in {file}`/run/secrets/rendered`, the
      initrd, or both.
    '';
  };
}
