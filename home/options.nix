# The options of a user's secrets and templates.
{
  formats,
  paths,
  template-text,
  ...
}:
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib)
    literalExpression
    literalMD
    mkEnableOption
    mkIf
    mkOption
    types
    ;

  cfg = config.sops;
  qubes = cfg.gnupg.qubes-split-gpg;
  splitGPG = "qubes-gpg-client-wrapper"; # which Qubes OS installs

  common = import ../nixos/common-options.nix {
    inherit
      lib
      pkgs
      cfg
      formats
      paths
      ;
    generations = "%r/secrets.d";
    searchPath = ''
      The programs of
      {option}`sops.age.plugins` are found before those of `PATH`.'';
  };

  triggers = {
    restart = "systemd.user.services.<name>.Unit.X-Restart-Triggers";
    reload = "systemd.user.services.<name>.Unit.X-Reload-Triggers";
  };

  placementOf =
    noun: below:
    import ../nixos/placement.nix {
      inherit lib noun triggers;
      directory = "~/.config/sops-nix/secrets${below}";
      path = "{file}`${below}/‹name›` in {option}`sops.defaultSymlinkPath`";
    };
  placementOfSecrets = placementOf "secret" "";
  placementOfTemplates = placementOf "rendered template" "/rendered";

  source = import ../nixos/secret-source.nix {
    inherit
      lib
      cfg
      formats
      paths
      ;
    trigger = triggers.restart;
  };
  withDefault = option: default: option // { inherit default; };
in
{
  imports = [ template-text.placeholders ];

  options.sops = common // {
    secrets = mkOption {
      type = types.attrsOf (
        types.submodule (
          { config, name, ... }@args:
          {
            options =
              placementOfSecrets
              // source args
              // {
                name = withDefault placementOfSecrets.name name;
                # By the attribute name, as with sops-nix, wherever the file itself is.
                path = withDefault placementOfSecrets.path "${cfg.defaultSymlinkPath}/${name}";
              };
          }
        )
      );
      default = { };
      example = literalExpression ''{ "mail/password".sopsFile = ./mail.yaml; }'';
      description = "Secrets that are decrypted from sops files and installed for the user.";
    };

    templates = mkOption {
      type = types.attrsOf (
        types.submodule [
          (
            { config, name, ... }:
            {
              options = placementOfTemplates // {
                name = withDefault placementOfTemplates.name name;
                path = withDefault placementOfTemplates.path "${cfg.defaultSymlinkPath}/rendered/${config.name}";
              };
            }
          )
          (template-text.options pkgs)
        ]
      );
      default = { };
      example = literalExpression ''
        { "netrc".content = "machine example.com password ''${config.sops.placeholder.password}"; }
      '';
      description = "Files that are rendered from secrets and installed for the user.";
    };

    defaultSymlinkPath = mkOption {
      type = types.singleLineStr;
      default = "${config.xdg.configHome}/sops-nix/secrets";
      defaultText = literalMD "{file}`sops-nix/secrets` in {option}`xdg.configHome`";
      description = ''
        The link that leads to the current secrets. `%r` stands for the user's directory in memory,
        `$XDG_RUNTIME_DIR`, as in the paths of secrets and templates.
      '';
    };

    defaultSecretsMountPoint = mkOption {
      type = types.singleLineStr;
      default = "%r/secrets.d";
      description = "The directory of the generations of secrets. It has to be in memory.";
    };

    age = common.age // {
      keyFile = common.age.keyFile // {
        example = "/home/alice/.config/sops/age/keys.txt";
      };
    };

    gnupg = common.gnupg // {
      home = common.gnupg.home // {
        example = "/home/alice/.gnupg";
      };

      qubes-split-gpg = {
        enable = mkEnableOption (
          "decryption with the GnuPG of another qube, see <https://www.qubes-os.org/doc/split-gpg>"
        );

        domain = mkOption {
          type = types.nullOr types.str;
          default = null;
          example = "vault-gpg";
          description = "The name of the qube that has the keys.";
        };
      };
    };
  };

  config.sops.environment = {
    SOPS_GPG_EXEC =
      if qubes.enable then
        lib.mkDefault splitGPG
      else
        mkIf (cfg.gnupg.home != null) (lib.mkDefault "${cfg.gnupg.package}/bin/gpg");
    QUBES_GPG_DOMAIN = mkIf (qubes.enable && qubes.domain != null) (lib.mkDefault qubes.domain);
  };
  # For sops itself.
  config.home.sessionVariables = mkIf qubes.enable { SOPS_GPG_EXEC = splitGPG; };
}
