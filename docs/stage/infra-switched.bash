# The same, and the server runs it.
set -euo pipefail
bash /.stage/repo/docs/stage/infra.bash
cd ~/infra
nixos-rebuild switch --flake .#server01 --target-host root@server01
