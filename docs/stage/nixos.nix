# Options of NixOS that the documentation's examples set, beyond those of the stand-ins in nixos/tests/eval. They have the types
# that NixOS gives them.
{
  config,
  lib,
  ...
}:

let
  inherit (lib) mkOption types;

  option = type: default: mkOption { inherit type default; };
in
{
  options = {
    boot.initrd.systemd.storePaths = option (types.listOf types.singleLineStr) [ ];
    boot.initrd.systemd.network.networks = option (types.attrsOf types.anything) { };
    services.buildkite-agents = option (types.attrsOf types.anything) { };
    boot.initrd.availableKernelModules = option (types.listOf types.str) [ ];
  };

  # nixos/modules/services/continuous-integration/buildkite-agents.nix
  # nixos/modules/system/boot/networkd.nix
  config.boot.initrd.systemd.groups.systemd-network.gid = 152;
  config.users.users = lib.mapAttrs' (
    name: _: lib.nameValuePair "buildkite-agent-${name}" { group = "buildkite-agent-${name}"; }
  ) config.services.buildkite-agents;
}
