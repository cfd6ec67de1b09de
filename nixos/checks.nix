# What can be wrong with secrets wherever they are installed. Each function gets config.sops, and
# each message names the option, what is wrong, and what to set.
{
  lib,
  environment,
  paths,
}:

let
  inherit (lib) concatLists mapAttrsToList optional;
in
rec {
  option = kind: name: "sops.${kind}.${lib.strings.escapeNixIdentifier name}";

  # f kind name value for every secret and every template.
  forEach =
    cfg: f:
    concatLists (mapAttrsToList (f "secrets") cfg.secrets)
    ++ concatLists (mapAttrsToList (f "templates") cfg.templates);

  # The private keys, as { name of the option, path }.
  keyPaths =
    cfg:
    let
      named = name: map (path: { inherit name path; });
    in
    named "sops.age.sshKeyPaths" cfg.age.sshKeyPaths
    ++ named "sops.gnupg.sshKeyPaths" cfg.gnupg.sshKeyPaths
    ++ named "sops.age.keyFile" (optional (cfg.age.keyFile != null) cfg.age.keyFile);

  installedKeys =
    cfg:
    let
      installers = lib.groupBy (i: i.path) (
        forEach cfg (kind: name: item: [ { inherit (item) path; option = option kind name; } ])
      );
    in
    concatLists (
      map (
        { name, path }:
        map (
          installer:
          "${name}: ${paths.plain path} is installed by ${installer.option}, so it cannot decrypt secrets: "
          + "it is not there before they are decrypted; remove it from ${name}"
        ) (installers.${paths.plain path} or [ ])
      ) (keyPaths cfg)
    );

  keysInStore =
    cfg:
    map (
      { name, path }:
      "${name}: ${paths.plain path} is in the Nix store, where everybody can read it; keep private keys elsewhere"
    ) (builtins.filter (key: paths.inStore key.path) (keyPaths cfg));

  keyFileSet = cfg: {
    assertion = cfg.age.generateKey -> cfg.age.keyFile != null;
    message =
      "sops.age.generateKey is enabled but sops.age.keyFile is not set: "
      + "set it to where the key should be created";
  };

  # Of { option = environment; }.
  variableFaults =
    variables:
    concatLists (
      mapAttrsToList (
        set: values:
        concatLists (
          mapAttrsToList (
            name: value:
            optional (!environment.isName name) (
              "${set}.${lib.strings.escapeNixIdentifier name}: this is no name of an environment variable; "
              + "use letters, digits and _"
            )
            ++ optional (environment.isQuoted value) (
              "${set}.${name} stands in single quotes. Values are taken literally here, so the quotes would be part "
              + "of it, and a command in it would not run: remove the quotes (and lib.escapeShellArg). For an age "
              + "key that a command prints, set SOPS_AGE_KEY_CMD to the command"
            )
          ) values
        )
      ) variables
    );
}
