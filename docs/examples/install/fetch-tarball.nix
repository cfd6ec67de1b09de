let
  commit = "0000000000000000000000000000000000000000";
in
{
  imports = [
    "${
      builtins.fetchTarball {
        url = "https://github.com/sops-initrd/sops-initrd/archive/${commit}.tar.gz";
        sha256 = "0000000000000000000000000000000000000000000000000000";
      }
    }/modules/sops"
  ];
}
