{ inputs, ... }:
{
  imports = [ inputs.sops-nix.flakeModules.default ];
  sops-initrd.hostRecipients.server01 = [ (builtins.readFile ./hosts/server01.pub) ];
}
