# The repository that a reader has who followed getting-started.md, with a directory for further modules.
set -euo pipefail
cd
mkdir -p ~/.config/sops/age infra/modules
age-keygen -o ~/.config/sops/age/keys.txt 2>/dev/null
cd infra
git init --quiet
ssh-keyscan -t ed25519 server01 2>/dev/null >server01.pub
cat >.sops.yaml <<END
creation_rules:
  - path_regex: ^secrets/
    key_groups:
      - age:
          - $(age-keygen -y ~/.config/sops/age/keys.txt) # alice
          - $(ssh-to-age -i server01.pub) # server01
END
sops-initrd bootstrap --host-key server01.pub secrets/server01.yaml >bootstrap.txt
grep '^\[server01\]:2222 ' bootstrap.txt >>~/.ssh/known_hosts
sed -n '/^{ config/,/^}/p' bootstrap.txt >modules/initrd-unlock.nix
rm bootstrap.txt
ssh root@server01 cat /etc/nixos/configuration.nix >configuration.nix
ssh root@server01 cat /etc/nixos/hardware-configuration.nix >hardware-configuration.nix
sed -i 's|\./secrets|../secrets|' modules/initrd-unlock.nix
cat >flake.nix <<'END'
{
  outputs =
    { nixpkgs, sops-initrd, ... }:
    {
      nixosConfigurations.server01 = nixpkgs.lib.nixosSystem {
        system = "x86_64-linux";
        modules = [
          sops-initrd.nixosModules.sops
          ./configuration.nix
        ]
        ++ map (file: ./modules + "/${file}") (builtins.attrNames (builtins.readDir ./modules));
      };
    };
}
END
git add .
git commit --quiet --message 'server01: unlock over SSH'
