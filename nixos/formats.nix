# The formats of sops files.
rec {
  # Files with keys that a secret usually is one of.
  keyed = [
    "yaml"
    "json"
  ];
  # Files with keys that sops-nix installs as a whole, whatever the key.
  optional = [
    "dotenv"
    "ini"
  ];
  # Files that a secret is as a whole, unless it says otherwise.
  whole = [ "binary" ] ++ optional;
  all = keyed ++ whole;
}
