# The repository of getting-started.md, and a password store with three entries.
set -euo pipefail
bash /.stage/repo/docs/stage/infra.bash
sops-init-gpg-key --hostname alice --gpghome ~/.gnupg --keytype Curve25519 >/dev/null
mkdir -p ~/.password-store/mail ~/.password-store/web
encrypt() { gpg --batch --quiet --trust-model always --recipient root@alice --encrypt >"$HOME/.password-store/$1.gpg"; }
echo 'correct horse' | encrypt mail/smtp
printf 'first\n  second, indented\n' | encrypt 'web/two lines'
echo 0123 | encrypt wifi
