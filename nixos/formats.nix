# The formats of sops files.
rec {
  # Files with keys that a secret usually is one of.
  keyed = [
    "yaml"
    "json"
  ];
  # Files that a secret usually is as a whole.
  whole = [
    "binary"
    "dotenv"
    "ini"
  ];
  all = keyed ++ whole;
}
