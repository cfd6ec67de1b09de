# What one needs to work on this repository.
{
  mkShell,
  age,
  deadnix,
  go,
  gnupg,
  golangci-lint,
  gopls,
  nixfmt,
  openssh,
  shellcheck,
  sops,
  statix,
}:

mkShell {
  packages = [
    age
    deadnix
    go
    gnupg
    golangci-lint
    gopls
    nixfmt
    openssh
    shellcheck
    sops
    statix
  ];
}
