# What NixOS would have of the host in host.nix, as JSON: the texts of its manifests, of its hook,
# of its activation scripts, its units and its stage 1, and the paths at which they expect programs
# and sops files. A test in a virtual machine puts everything where it belongs and runs it, so that
# what the module writes is proved with the programs that read it. Store paths are those of the
# stand-ins.
{ libPath }:

let
  lib = import libPath;
  inherit (import ./evaluate.nix { inherit lib; }) evaluate pkgs;

  host =
    machine: config:
    (evaluate (
      machine
      // {
        config = {
          imports = [
            ./host.nix
            config
          ];
          sops.defaultSopsFile = lib.mkForce ../assets/secrets.yaml;
        };
      }
    )).config;
  scripted = host { systemdStage1 = false; } { };
  systemd = host { users = "sysusers"; } { };
  sealing = host { } { sops.initrd.seal.enable = true; };
  inherit (scripted.system) build;

  inherit (import ./json.nix { inherit lib; }) plain print;

  fileOf = file: {
    ${plain "${file}${file.destination}"} = {
      inherit (file) text executable;
    };
  };

  # nixos/lib/systemd-lib.nix: scripts of units are files that stop at the first error.
  scriptOf =
    name: text:
    pkgs.writeTextFile {
      name = "unit-script-${name}";
      executable = true;
      destination = "/bin/${name}";
      text = ''
        #!${pkgs.runtimeShell} -e
        ${text}'';
    };
  unitOf =
    name: unit:
    let
      scripts = lib.filterAttrs (_: s: s.text != "") {
        ExecStartPre = {
          name = "${name}-pre-start";
          text = unit.preStart or "";
        };
        ExecStart = {
          name = "${name}-start";
          text = unit.script or "";
        };
        ExecStartPost = {
          name = "${name}-post-start";
          text = unit.postStart or "";
        };
      };
      files = lib.mapAttrs (_: s: scriptOf s.name s.text) scripts;
      line = key: value: "${key}=${if builtins.isBool value then lib.boolToString value else toString value}\n";
      lines = attributes: lib.concatStrings (lib.mapAttrsToList (key: value: lib.concatMapStrings (line key) (lib.toList value)) attributes);
      given = lib.filterAttrs (_: v: v != [ ] && v != "");
    in
    {
      text =
        "[Unit]\n"
        + lines (
          given {
            Description = unit.description;
            After = toString unit.after;
            Before = toString unit.before;
            Wants = toString unit.wants;
            Requires = toString unit.requires;
            Conflicts = toString unit.conflicts;
          }
          // lib.mapAttrs (_: v: if builtins.isList v then toString v else v) unit.unitConfig
        )
        + lib.optionalString (unit ? serviceConfig) (
          "\n[Service]\n"
          + lines (
            unit.serviceConfig
            // lib.mapAttrs (key: file: "${file}${file.destination}") files
          )
          + lib.concatStrings (
            lib.mapAttrsToList (key: value: "Environment=${builtins.toJSON "${key}=${value}"}\n") unit.environment
          )
        );
      inherit (unit) wantedBy requiredBy;
      files = lib.mergeAttrsList (map fileOf (builtins.attrValues files));
    };

  units =
    lib.mapAttrs' (name: unit: lib.nameValuePair "${name}.service" (unitOf name unit)) systemd.systemd.services
    // lib.mapAttrs' (name: unit: lib.nameValuePair "${name}.target" (unitOf name unit)) systemd.systemd.targets;
  stage1Units = lib.mapAttrs' (name: unit: lib.nameValuePair "${name}.service" (unitOf name unit)) systemd.boot.initrd.systemd.services;
  withoutFiles = lib.mapAttrs (_: unit: removeAttrs unit [ "files" ]);

  hook = build.initialRamdiskSecretAppender;
  manifests = [
    build.sops-nix-manifest
    build.sops-nix-users-manifest
    build.sops-initrd-manifest
  ];

  export = {
    shell = pkgs.runtimeShell;
    programs = {
      sops-initrd = "${scripted.sops.initrd.package}/bin/sops-initrd";
      sops-install-secrets = "${scripted.sops.package}/bin/sops-install-secrets";
    };
    base = "${build.initialRamdisk}/initrd";
    hook = "${hook}${hook.destination}";
    manifest = "${build.sops-nix-manifest}";
    manifestForUsers = "${build.sops-nix-users-manifest}";
    manifestInitrd = "${build.sops-initrd-manifest}";
    # Paths in the store, and what has to be there, from the root of this repository.
    sopsFiles.${plain "${../assets/secrets.yaml}"} = "nixos/tests/assets/secrets.yaml";
    keys = scripted.sops.age.sshKeyPaths;
    luksKeyFile = scripted.boot.initrd.luks.devices.root.keyFile;
    files = lib.mergeAttrsList (
      map fileOf (manifests ++ [ hook ])
      ++ map (unit: unit.files) (builtins.attrValues units ++ builtins.attrValues stage1Units)
    );
    # In the order in which NixOS runs them.
    activation = map (name: scripted.system.activationScripts.${name}.text) [
      "setupSecretsForUsers"
      "setupSecrets"
    ];
    preDeviceCommands = scripted.boot.initrd.preDeviceCommands;
    units = withoutFiles units;
    stage1Units = withoutFiles stage1Units;
    unsealUnit = removeAttrs (unitOf "unseal" sealing.boot.initrd.systemd.services.sops-initrd-unseal) [ "files" ];
    tmpfiles = scripted.systemd.tmpfiles.rules;
  };
in
{
  json = print 2 export + "\n";
}
