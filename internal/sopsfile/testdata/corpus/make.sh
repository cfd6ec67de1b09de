#!/usr/bin/env bash
# make.sh VERSION SOPS: encrypt plain/* with an old sops (the path of its program) for the test keys, into VERSION/.
#
# v3.4.0 to v3.7.3 were built from the tags of the sops repository with "go build -mod=mod ./cmd/sops", v3.8.1 with
# "go install github.com/getsops/sops/v3/cmd/sops@v3.8.1". The recipients are ssh_rsa_2048 as an OpenPGP key, gpg_rsa and, from
# v3.7.3 on, the converted ssh_ed25519; shamir.yaml needs two of three groups: ssh_rsa_2048 or gpg_ed25519, ssh_rsa_4096, gpg_rsa.
# FILE.expected is what "sops decrypt" of the pinned version prints.
set -euo pipefail
cd "$(dirname "$0")"
version=$1 sops=$2
keys=../../../test/testkeys/testdata
GNUPGHOME=$(mktemp -d)
export GNUPGHOME
trap 'gpgconf --kill all; rm -rf "$GNUPGHOME"' EXIT
gpg -q --batch --import "$keys"/*.pgp "$keys"/gpg_*.asc
rsa2048=2999768FD0F53E41D733D886B5DE33903C05675C
rsa4096=BCEC1216F0A18664A7B288CD1050F7A7FB338ECA
ed25519=759DB3A3ECCF53A548DE37CDE66A18AC00D6A047
gpg=ACB4928090543B8B34568E92C4BFF35F5197F52B
age=age1hkpxawruxazyyrd7l2wt5rxs07pum6t9qcszve6q2ykxvv5n356s3ghqzk
to=(--pgp "$rsa2048,$gpg")
case $version in v3.4.*|v3.5.*|v3.6.*) ;; *) to+=(--age "$age") ;; esac
mkdir -p "$version"
printf 'creation_rules:\n  - path_regex: shamir\n    shamir_threshold: 2\n    key_groups:\n    - pgp: [%s, %s]\n    - pgp: [%s]\n    - pgp: [%s]\n' \
  "$rsa2048" "$ed25519" "$rsa4096" "$gpg" > "$GNUPGHOME/sops.yaml"
encrypt() { # from to type flags...
  "$sops" --encrypt --input-type "$3" --output-type "$3" "${@:4}" "$1" > "$version/$2"
}
encrypt plain/plain.yaml secrets.yaml yaml "${to[@]}"
encrypt plain/plain.json secrets.json json "${to[@]}"
encrypt plain/plain.bin secrets.bin binary "${to[@]}"
encrypt plain/plain.env secrets.env dotenv "${to[@]}"
encrypt plain/plain.ini secrets.ini ini "${to[@]}"
cp plain/plain.yaml "$GNUPGHOME/shamir.yaml"
(here=$PWD; cd "$GNUPGHOME" && "$sops" --config sops.yaml --encrypt shamir.yaml > "$here/$version/shamir.yaml")
pinned=$(go tool -n sops)
for file in "$version"/*.{yaml,json,env,ini}; do "$pinned" decrypt "$file" > "$file.expected"; done
"$pinned" decrypt --input-type binary --output-type binary "$version/secrets.bin" > "$version/secrets.bin.expected"
