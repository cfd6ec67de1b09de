# What home-manager would have of the user in user.nix, before and after a change, as JSON: the texts
# of manifests, scripts, units and the activation entry, and the paths at which they expect programs.
# A test in a virtual machine runs them with the real programs. Store paths are those of the stand-ins.
{
  libPath,
  homeManager,
}:

let
  inherit (import ./evaluate.nix { inherit libPath homeManager; }) lib pkgs evaluate;
  inherit (import ../../nixos/tests/eval/json.nix { inherit lib; }) plain print;

  # As home-manager's systemd module writes them.
  given = lib.filterAttrs (_: v: v != null && v != [ ] && v != { });
  unit = settings: {
    text = lib.generators.toINI {
      listsAsDuplicateKeys = true;
    } (given (lib.mapAttrs (_: given) settings));
    wantedBy = settings.Install.WantedBy;
  };

  generation =
    sopsFile: change:
    let
      r = evaluate {
        config = {
          imports = [
            ./user.nix
            change
          ];
          sops.defaultSopsFile = ../../nixos/tests/assets + "/${sopsFile}";
        };
      };
      inherit (r.config.systemd.user) services targets;
      script = lib.concatStrings services.sops-nix.Service.ExecStart;
      file = r.config.sops.manifest.file;
    in
    {
      activation = r.config.home.activation.sops-nix.data;
      inherit script;
      files = {
        ${plain "${file}"} = file.text;
        ${plain script} = r.config.sops.manifest.script.text;
      };
      program = "${r.config.sops.package}/bin/sops-install-secrets";
      sopsFiles.${plain "${r.config.sops.defaultSopsFile}"} = "nixos/tests/assets/${sopsFile}";
      units = {
        "sops-nix.service" = unit services.sops-nix;
        "app.service" = unit services.app;
        "sops-secrets.target" = unit targets.sops-secrets;
      };
    };
in
{
  json =
    print 3 {
      shell = pkgs.runtimeShell;
      systemctl = "${pkgs.systemd}/bin/systemctl";
      first = generation "secrets.yaml" {
        sops.secrets.gone = {
          key = "luks";
          path = "%r/gone";
        };
      };
      second = generation "rotated.yaml" { };
    }
    + "\n";
}
