# The environment of the programs. Values are literal wherever they end up; only the escaping
# differs.
{ lib }:

let
  # sops looks for keys below the home directory. There is none here.
  home.HOME = "/var/empty";

  # The search path is made from packages (sops.age.plugins); assertions.nix says so to whoever sets
  # it.
  literal = environment: home // removeAttrs environment [ "PATH" ];
in
rec {
  # A shell command that runs with these variables, without leaving them behind.
  shellCommand = environment: plugins: command: ''
    (
    ${exports "  " (literal environment // { PATH = lib.makeBinPath plugins; })}  ${command}
    )
  '';

  # Shell commands that set variables.
  exports =
    indent: environment:
    lib.concatStrings (
      lib.mapAttrsToList (name: value: "${indent}export ${name}=${lib.escapeShellArg value}\n") environment
    );

  # For systemd.services.<name>.environment, which quotes values, but leaves systemd's specifiers in
  # them.
  unit = environment: lib.mapAttrs (_: builtins.replaceStrings [ "%" ] [ "%%" ]) (literal environment);

  isName = name: builtins.match "[A-Za-z_][A-Za-z0-9_]*" name != null;

  # With sops-nix a value ended the quotes around it for a command substitution, or was quoted by
  # lib.escapeShellArg.
  isQuoted = value: builtins.match "'.*'" value != null;
}
