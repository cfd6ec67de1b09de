{ pkgs, ... }:
{
  sops.environment.SOPS_INITRD_SOPS = "${pkgs.sops}/bin/sops";
  sops.environment.AWS_REGION = "eu-west-1";
}
