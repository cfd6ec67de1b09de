# What stage 1 does with the secrets that NixOS's copy step put into place, and what is left of them
# afterwards.
{ paths, ... }:
{
  config,
  lib,
  options,
  pkgs,
  ...
}:

let
  inherit (lib) mkIf;

  cfg = config.sops;
  initrd = config.boot.initrd;

  # Whether this NixOS still has a scripted stage 1; it is to be removed in 26.11.
  scripted = options.boot.initrd ? preDeviceCommands;

  ours = builtins.filter (e: !e ? source) cfg.initrd.entries;
  files = builtins.filter (e: !e ? prefix && !e ? credential) ours;
  # Sealed files are laid out by a unit of their own.
  copied = builtins.filter (e: !e ? seal) files;

  # The commands are written for bash and for busybox's ash. The kernel log is on the console and in
  # the journal.
  say = ''
    sops_say() {
      echo "<3>sops-initrd: $1" > /dev/kmsg || echo "sops-initrd: $1" >&2
    }
  '';

  # Of an image that was torn by a power failure, the kernel unpacks what is there and fills up the
  # file that was cut with NULs, without a word. The segment's list of checksums comes before the
  # files (package initrd). alsoRemove is what else to remove with a bad file $name.
  verify =
    alsoRemove:
    ''
      if [ -f /.sops-initrd-sums ]; then
        while read -r sum name; do
          if [ -f "/$name" ] && [ "$(sha256sum < "/$name")" != "$sum  -" ]; then
            rm -f "/$name"${alsoRemove}
            sops_say "/$name was damaged and is removed: install the boot loader again"
          fi
        done < /.sops-initrd-sums
      elif [ -f /.sops-initrd-begin ]; then
        sops_say "the secrets of this image were not installed to the end: install the boot loader again"
      fi
    '';

  # NixOS copies as root with plain cp, so that until here nobody has more access than declared.
  place = ''
    sops_place() {
      if [ -f "$1" ]; then
        chown "$2" "$1"
        chmod "$3" "$1"
      else
        sops_say "$1 is missing: the boot loader was installed without it"
      fi
    }
  ''
  + lib.concatMapStrings (
    e: "sops_place ${lib.escapeShellArg e.path} ${toString e.uid}:${toString e.gid} ${e.mode}\n"
  ) copied;

  # The encrypted inputs, as far as they are known while evaluating.
  digest = builtins.hashString "sha256" (
    builtins.toJSON {
      entries = map (e: builtins.mapAttrs (_: v: if builtins.isString v then plainText v else v) e) cfg.initrd.entries;
      secrets = lib.mapAttrs (_: s: {
        inherit (s) name key extractKey format;
        file = contentOf s.sopsFile;
      }) cfg.manifest.initrd.secrets;
      templates = lib.mapAttrs (
        _: t: if t.hasFile then contentOf t.file else plainText t.content
      ) cfg.manifest.initrd.templates;
    }
  );
  plainText = builtins.unsafeDiscardStringContext;

  # The name of a store path that has to be built changes with its content; so does the hash of any
  # other file in the store. The content of files elsewhere may be anything when the boot loader is
  # installed.
  contentOf =
    file:
    if paths.needsBuild file || !paths.endsInStore file then
      paths.plain file
    else
      builtins.hashFile "sha256" file;
  uncovered = lib.unique (
    map (s: paths.plain s.sopsFile) (
      builtins.filter (s: !paths.endsInStore s.sopsFile) (builtins.attrValues cfg.manifest.initrd.secrets)
    )
  );

  inputs = "/etc/sops-initrd-inputs";
  separate = cfg.initrd.active && cfg.initrd.separateImages && ours != [ ];

  # /run of stage 1 is /run of the running system. /run/secrets is replaced when secrets are
  # installed there; a secret at its own path becomes a link to the installed one. Whatever else
  # came from a sops file is removed.
  installed =
    path:
    paths.isBelow "/run/secrets" path && cfg.activation.regular
    || paths.isBelow "/run/secrets-for-users" path && cfg.activation.users
    || builtins.any (item: item.path == path) (
      lib.concatMap (set: builtins.attrValues set.secrets ++ builtins.attrValues set.templates) [
        cfg.manifest.regular
        cfg.manifest.users
      ]
    );
  leftovers = builtins.filter (path: paths.isBelow "/run" path && !installed path) (map (e: e.path) files);
in
{
  config = mkIf cfg.initrd.active {
    boot.initrd = {
      systemd = mkIf initrd.systemd.enable {
        # In the copying unit itself: units that are ordered after it, as sshd's, find everything in
        # place.
        services.initrd-nixos-copy-secrets = {
          # It would look through everything below / for want of the directory, in an image that has
          # no secrets.
          preStart = "mkdir -p /.initrd-secrets\n" + say + verify "";
          postStart = mkIf (copied != [ ]) (say + place);
          # It reads keys as an ordinary user, and is not ordered after the copying unit by NixOS.
          before = [ "systemd-networkd.service" ];
        };
        extraBin = lib.genAttrs [
          "chmod"
          "chown"
          "rm"
          "sha256sum"
        ] (tool: lib.mkDefault "${pkgs.coreutils}/bin/${tool}");
        contents = mkIf separate { ${inputs}.text = digest; };
      };
    }
    // lib.optionalAttrs scripted {
      # Right after the copying, before devices are looked for.
      preDeviceCommands = mkIf (!initrd.systemd.enable) (
        lib.mkOrder 100 (
          say + verify " \"/\${name#.initrd-secrets/}\"" + lib.optionalString (copied != [ ]) place
        )
      );
      extraFiles = mkIf (!initrd.systemd.enable && separate) {
        ${inputs}.source = pkgs.writeText "sops-initrd-inputs" digest;
      };
    };

    systemd.tmpfiles.rules = map (path: "r! ${paths.systemdWord path}") leftovers;

    warnings = lib.optional (separate && uncovered != [ ]) (
      "sops.initrd.separateImages does not cover ${lib.concatStringsSep ", " uncovered}, "
      + "because it is not in the Nix store. Generations that differ only in what is in there share an image on this "
      + "boot loader, and with it the secrets that were installed last."
    );
  };
}
