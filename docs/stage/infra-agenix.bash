# The repository of getting-started.md, and a file of agenix.
set -euo pipefail
bash /.stage/repo/docs/stage/infra.bash
cd ~/infra
echo 'from agenix' | age --encrypt --recipients-file ~/.ssh/id_ed25519.pub >secrets/database.age
