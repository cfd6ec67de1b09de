{ config, ... }:
{
  sops.defaultSopsFile = ../secrets/buildkite.yaml;
  sops.secrets.buildkite-token.owner = "buildkite-agent-builder";
  sops.secrets.buildkite-ssh-key.owner = "buildkite-agent-builder";

  services.buildkite-agents.builder = {
    enable = true;
    tokenPath = config.sops.secrets.buildkite-token.path;
    privateSshKeyPath = config.sops.secrets.buildkite-ssh-key.path;
  };
}
