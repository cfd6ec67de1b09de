# Secrets of the initrd that are sealed to the TPM.
{
  lib,
  evaluate,
  assets,
  ...
}:

let
  base = {
    sops.defaultSopsFile = assets + "/secrets.yaml";
    sops.initrd.seal.enable = true;
    sops.secrets.luks = {
      neededForInitrd = true;
      initrd.path = "/etc/luks.key";
    };
    sops.secrets.test_key = {
      neededForInitrd = true;
      initrd.seal = false;
    };
  };
  with' =
    machine: config:
    evaluate (
      machine
      // {
        config.imports = [
          base
          config
        ];
      }
    );
  sealed = with' { } { };
  faults = machine: config: (with' machine config).faults;
  fault = machine: config: builtins.head (faults machine config ++ [ "none" ]);
  services = r: r.config.boot.initrd.systemd.services;
  one = part: text: if lib.hasInfix part text then part else text;
in
{
  "entries: sealed unless they say otherwise" = {
    expr = map (e: { inherit (e) path; seal = e.seal or ""; }) sealed.initrdManifest.entries;
    expected = [
      {
        path = "/etc/luks.key";
        seal = "tpm2";
      }
      {
        path = "/run/secrets/test_key";
        seal = "";
      }
    ];
  };

  "manifest: a version that programs without sealing refuse" = {
    expr = {
      inherit (sealed.initrdManifest) version seal;
    };
    expected = {
      version = 2;
      seal = {
        format = "tpm2";
        pcrs = [ ];
        device = "";
        parent = "";
      };
    };
  };

  "manifest: unsealed it is what it was" = {
    expr =
      let
        m = (with' { } { sops.initrd.seal.enable = lib.mkForce false; }).initrdManifest;
      in
      {
        inherit (m) version;
        seal = m ? seal;
        entries = builtins.any (e: e ? seal) m.entries;
      };
    expected = {
      version = 1;
      seal = false;
      entries = false;
    };
  };

  "format: the newer one from systemd 262 on" = {
    expr = (with' { systemdVersion = "262"; } { }).initrdManifest.seal.format;
    expected = "tpm2-srk";
  };

  "without a TPM: what was chosen" = {
    expr = (builtins.head (with' { } { sops.initrd.seal.whenNoTPM = "plain"; }).initrdManifest.entries).seal;
    expected = "tpm2-or-plain";
  };

  "credential: a name instead of a place" = {
    expr = builtins.filter (e: e ? credential) (
      (with' { } {
        sops.secrets.wg = {
          key = "test_key";
          neededForInitrd = true;
          initrd.credential = "network.wireguard.private.wg0";
        };
      }).initrdManifest.entries
    );
    expected = [
      {
        credential = "network.wireguard.private.wg0";
        seal = "tpm2";
        secret = "wg";
      }
    ];
  };

  "stage 1: one unit, before whatever reads a key" = {
    expr = {
      inherit ((services sealed).sops-initrd-unseal) after before wantedBy;
      inherit ((services sealed).sops-initrd-unseal.serviceConfig) ExecStart LoadCredentialEncrypted;
    };
    expected = {
      after = [
        "tpm2.target"
        "initrd-nixos-copy-secrets.service"
      ];
      before = [
        "cryptsetup-pre.target"
        "network-pre.target"
        "systemd-networkd.service"
        "sshd.service"
        "shutdown.target"
      ];
      wantedBy = [ "sysinit.target" ];
      ExecStart = "/bin/systemd-tmpfiles --create \${CREDENTIALS_DIRECTORY}/sops-initrd";
      LoadCredentialEncrypted = "sops-initrd";
    };
  };

  "stage 1: nothing is expected of the copying unit for what is sealed" = {
    expr = builtins.filter (lib.hasPrefix "sops_place ") (
      lib.splitString "\n" (services sealed).initrd-nixos-copy-secrets.postStart
    );
    expected = [ "sops_place /run/secrets/test_key 0:0 0400" ];
  };

  "refused: a scripted stage 1" = {
    expr = one "set boot.initrd.systemd.enable to true" (fault { systemdStage1 = false; } { });
    expected = "set boot.initrd.systemd.enable to true";
  };

  "refused: a stage 1 before 255" = {
    expr = one "this one is 254.3" (fault { systemdVersion = "254.3"; } { });
    expected = "this one is 254.3";
  };

  "refused: what generators read" = {
    expr = one "it cannot be sealed" (
      fault { } {
        sops.secrets.luks.initrd.early = true;
        sops.secrets.luks.initrd.seal = true;
      }
    );
    expected = "it cannot be sealed";
  };

  "early secrets are not sealed by default" = {
    expr = faults { } { sops.secrets.luks.initrd.early = true; };
    expected = [ ];
  };

  "refused: circular PCRs, each with its reason" = {
    expr = map (
      pcr: one "PCR ${toString pcr}:\n" (fault { } { sops.initrd.seal.pcrs = [ pcr ]; })
    ) [ 4 8 9 11 12 ];
    expected = map (pcr: "PCR ${toString pcr}:\n") [ 4 8 9 11 12 ];
  };

  "refused: PCRs of another machine, and no such PCR" = {
    expr = [
      (one "for another machine" (
        fault { } {
          sops.initrd.seal.pcrs = [ 7 ];
          sops.initrd.seal.parent = "tpm2:AAAA";
        }
      ))
      (one "no PCR 24" (fault { } { sops.initrd.seal.pcrs = [ 24 ]; }))
    ];
    expected = [
      "for another machine"
      "no PCR 24"
    ];
  };

  "warned of: PCR 7" = {
    expr = builtins.any (lib.hasInfix "revoked keys") (with' { } { sops.initrd.seal.pcrs = [ 7 ]; }).warnings;
    expected = true;
  };
}
