# Initrd secrets that only this machine's TPM opens: what is on the boot partition is encrypted.
{ ... }:
{
  config,
  lib,
  options,
  ...
}:

let
  inherit (lib)
    literalMD
    mkIf
    mkOption
    types
    ;

  cfg = config.sops.initrd.seal;
  stage1 = config.boot.initrd.systemd;
  version = stage1.package.version or "0";

  # Registers that the initrd itself changes, directly or by what comes before it.
  circular = {
    "4" = "the boot loader and unified kernel images are measured into it";
    "8" = "GRUB measures its commands into it";
    "9" = "the kernel measures the initrd into it, and so what is sealed";
    "11" = "the parts of unified kernel images are measured into it";
    "12" = "the kernel's command line and credentials are measured into it";
  };

  sealed = builtins.filter (e: e ? seal) config.sops.initrd.entries;
  early = builtins.filter (e: e ? prefix && !e ? credential) sealed;
in
{
  options.sops.initrd.seal = {
    enable = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether secrets and templates in the initrd are sealed to the TPM of this machine, unless
        they say otherwise with {option}`sops.secrets.<name>.initrd.seal`. The boot partition then
        has them encrypted, and stage 1 opens them with the TPM: who copies the disk, or puts it
        into another machine, gets nothing.

        It needs a TPM 2.0 and systemd in stage 1, 255 or newer. Without Secure Boot it does not
        protect from who starts other software on this machine: the TPM opens the secrets for that
        as well.
      '';
    };

    format = mkOption {
      type = types.enum [
        "tpm2"
        "tpm2-srk"
      ];
      default = if lib.versionAtLeast version "262" then "tpm2-srk" else "tpm2";
      defaultText = literalMD (
        "`\"tpm2-srk\"` where {option}`boot.initrd.systemd.package` is 262 or newer, "
        + "else `\"tpm2\"`"
      );
      description = ''
        The format of encrypted credentials that the systemd of stage 1 reads. What `tpm2` seals is
        refused while the TPM is in lockout, for example after several power cuts; what `tpm2-srk`
        seals is not.
      '';
    };

    pcrs = mkOption {
      type = types.listOf types.ints.unsigned;
      default = [ ];
      example = [ 7 ];
      description = ''
        The registers of the TPM whose values, as they are when the boot loader is installed, the
        secrets are bound to. 7 has the state and the keys of Secure Boot: with it, only software
        that these keys signed gets the secrets. An update of the firmware, or of the list of
        revoked keys (dbx), changes it, and the secrets do not open before the boot loader has been
        installed again.
      '';
    };

    whenNoTPM = mkOption {
      type = types.enum [
        "fail"
        "plain"
      ];
      default = "fail";
      description = ''
        What becomes of the installation of the boot loader on a machine without a TPM: it fails, or
        the secrets are installed unencrypted, with a warning.
      '';
    };

    device = mkOption {
      type = types.str;
      default = "";
      example = "/dev/tpmrm1";
      description = "The TPM of the machine that installs the boot loader. `\"\"` is {file}`/dev/tpmrm0`.";
    };

    parent = mkOption {
      type = types.str;
      default = "";
      example = "tpm2-srk:ACMACwADBHIAAAAGAIAAQwAQAAMAEAAg…";
      description = ''
        The public key of the TPM to seal for, as {command}`sops-initrd enroll` prints it on the
        machine with that TPM: for images that are built on another machine than the one that boots
        them. `""` seals with the TPM of the machine that installs the boot loader.
      '';
    };
  };

  config = mkIf (config.sops.initrd.active && sealed != [ ]) {
    assertions = [
      {
        assertion = stage1.enable && lib.versionAtLeast version "255";
        message = ''
          Sealed secrets of the initrd are opened by the systemd in stage 1:
          set boot.initrd.systemd.enable to true, with
          systemd 255 or newer (this one is ${version}). Stage 1 of 254 and older crashes on encrypted credentials
          (systemd #29637).'';
      }
      {
        assertion = !stage1.enable || stage1.tpm2.enable or true;
        message = ''
          Sealed secrets of the initrd need the TPM in stage 1: set boot.initrd.systemd.tpm2.enable to true
          (the default,
          where systemd is built with tpm2-tss).'';
      }
      {
        assertion = cfg.parent == "" || cfg.pcrs == [ ];
        message = ''
          sops.initrd.seal.parent seals for another machine, whose PCRs are not known here: set sops.initrd.seal.pcrs to
          [ ].'';
      }
    ]
    ++ map (e: {
      assertion = false;
      message = ''
        ${e.path} lies at its place in the image itself (initrd.early), where systemd's generators read it
        before anything
        can be opened: it cannot be sealed. Set initrd.seal to false for it, or unset initrd.early.'';
    }) early
    ++ map (pcr: {
      assertion = !circular ? ${toString pcr};
      message = ''
        sops.initrd.seal.pcrs: nothing in an initrd can be bound to PCR ${toString pcr}:
        ${circular.${toString pcr} or ""}. 7 is what Secure Boot is measured into.'';
    }) cfg.pcrs
    ++ map (pcr: {
      assertion = pcr < 24;
      message = "sops.initrd.seal.pcrs: there is no PCR ${toString pcr} (0 to 23).";
    }) cfg.pcrs;

    warnings = lib.optional (builtins.elem 7 cfg.pcrs) ''
      sops.initrd.seal.pcrs has 7: the secrets of the initrd stop opening when the firmware or the list of
      revoked keys (dbx)
      is updated. Install the boot loader again before the next boot (nixos-rebuild boot), and keep another way in.'';

    # One credential holds all files, with owner and mode, as tmpfiles.d(5) lines: the TPM, which
    # can need a second for it, is asked once. Ordering after tpm2.target alone does not wait where
    # there is no TPM.
    boot.initrd.systemd.services.sops-initrd-unseal = mkIf (builtins.any (e: !e ? credential) sealed) {
      description = "Open the sealed secrets of the initrd (sops-initrd)";
      wantedBy = [ "sysinit.target" ];
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
      conflicts = [ "shutdown.target" ];
      unitConfig.DefaultDependencies = false;
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        LoadCredentialEncrypted = "sops-initrd";
        ExecStart = "/bin/systemd-tmpfiles --create \${CREDENTIALS_DIRECTORY}/sops-initrd";
      };
    };
  };
}
