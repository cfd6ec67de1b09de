# A hook for nix-shell that imports a team's OpenPGP keys; see nix/hooks/sops-keys.bash.
{
  makeSetupHook,
  gnupg,
  sops,
  name,
  function,
}:

makeSetupHook {
  inherit name;
  propagatedBuildInputs = [
    gnupg
    sops
  ];
  substitutions = {
    gpg = "${gnupg}/bin/gpg";
    hook = function;
  };
} ../hooks/sops-keys.bash
