#!/usr/bin/env bash
# pass-to-sops FILE: encrypts every entry of the password store ($PASSWORD_STORE_DIR or ~/.password-store) into the new sops
# file FILE (YAML), under the entry's name. The plaintext goes through pipes only. FILE is written only if every entry could
# be decrypted.
set -euo pipefail
shopt -s inherit_errexit
file=${1:?usage: pass-to-sops FILE}
store=$(realpath -e "${PASSWORD_STORE_DIR:-$HOME/.password-store}")
[[ ! -e $file ]] || { echo "$file exists" >&2; exit 1; }

entries() {
  local path name
  while IFS= read -r -d '' path; do
    name=${path#"$store/"} name=${name%.gpg}
    # A double-quoted YAML string, then a block whose indentation is given.
    name=${name//\\/\\\\}
    printf '"%s": |2-\n' "${name//\"/\\\"}"
    gpg --quiet --decrypt "$path" | sed 's/^/  /' || { echo "$path: cannot be decrypted" >&2; exit 1; }
    echo
  done < <(find "$store" -name '*.gpg' -print0 | LC_ALL=C sort -z)
}

encrypted=$(entries | sops encrypt --input-type yaml --output-type yaml --filename-override "$file" /dev/stdin)
set -o noclobber
printf '%s\n' "$encrypted" >"$file"
