# The five programs, with man pages and shell completions.
{
  lib,
  stdenv,
  buildGoModule,
  bashInteractive,
  gnupg,
  go-md2man,
  installShellFiles,
  makeWrapper,
  vendorHash,
  # Beside the small programs, which lack the software development kits of clouds, lie the full ones that they become
  # when a sops file needs such a key. Without them checks fail, naming the file.
  full ? true,
}:

let
  inherit (lib) fileset;

  activation = [ "sops-install-secrets" ];
  keytools = [
    "ssh-to-age"
    "ssh-to-pgp"
    "sops-init-gpg-key"
  ];
  all = [ "sops-initrd" ] ++ activation ++ keytools;
in
buildGoModule (
  finalAttrs:
  {
    pname = "sops-initrd" + lib.optionalString (!full) "-small";
    version = "0.1.0";

    # Everything that Go may look at: leaving packages out would change what go mod vendor finds.
    src = fileset.toSource {
      root = ../..;
      fileset = fileset.difference ../.. (
        fileset.unions [
          ../../default.nix
          ../../flake.lock
          ../../flake.nix
          ../../modules
          (fileset.fileFilter (file: file.hasExt "nix") ../../nix)
          (fileset.fileFilter (file: file.hasExt "nix") ../../nixos)
          (fileset.maybeMissing ../../vendor)
          (fileset.maybeMissing ../../build)
        ]
      );
    };

    inherit vendorHash;

    # A host has only the programs that it uses.
    outputs = [
      "out"
      "activation"
      "keytools"
      "man"
    ];

    subPackages = map (name: "cmd/${name}") all;
    ldflags = [
      "-s"
      "-w"
      "-X github.com/sops-initrd/sops-initrd/internal/cli.version=${finalAttrs.version}"
    ];

    nativeBuildInputs = [
      go-md2man
      installShellFiles
      makeWrapper
    ];

    # buildGoModule would test the packages of the programs only.
    nativeCheckInputs = [
      bashInteractive
      gnupg
    ];
    checkPhase = ''
      runHook preCheck
      export HOME=$TMPDIR
      go test ./cmd/... ./initrd/... ./internal/... ./nix/... ./nixos/...
      runHook postCheck
    '';

    # What buildGoModule installs afterwards is what lies in $GOPATH/bin.
    buildPhase = ''
      runHook preBuild
      LDFLAGS=${lib.escapeShellArg (toString finalAttrs.ldflags)} bash scripts/slim build "$GOPATH" \
        ${toString (map (package: "./${package}") finalAttrs.subPackages)}
      runHook postBuild
    '';

    postInstall = ''
      mkdir -p $activation/bin $keytools/bin
      mv ${lib.concatMapStringsSep " " (name: "$out/bin/${name}") activation} $activation/bin/
      mv ${lib.concatMapStringsSep " " (name: "$out/bin/${name}") keytools} $keytools/bin/
    ''
    + lib.optionalString full ''
      mkdir -p {$out,$activation}/libexec/sops-initrd
      mv "$GOPATH/libexec/sops-initrd/sops-initrd" $out/libexec/sops-initrd/
      mv "$GOPATH/libexec/sops-initrd/sops-install-secrets" $activation/libexec/sops-initrd/
    ''
    + ''
      for page in docs/man/*.md; do
        go-md2man -in "$page" -out "$(basename "$page" .md)"
        installManPage "$(basename "$page" .md)"
      done
    ''
    + lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
      installShellCompletion --cmd sops-initrd \
        --bash <($out/bin/sops-initrd completion bash) \
        --fish <($out/bin/sops-initrd completion fish) \
        --zsh <($out/bin/sops-initrd completion zsh)
      go run -ldflags ${lib.escapeShellArg (toString finalAttrs.ldflags)} ./cmd/sops-initrd man pages # small programs cannot
      installManPage pages/*
    ''
    + ''
      wrapProgram $keytools/bin/sops-init-gpg-key --prefix PATH : ${lib.makeBinPath [ gnupg ]}
    '';

    doInstallCheck = stdenv.buildPlatform.canExecute stdenv.hostPlatform;
    installCheckPhase = ''
      runHook preInstallCheck
      for program in {$out,$activation,$keytools}/{bin,libexec/sops-initrd}/*; do
        [[ -e $program ]] || continue # a small program alone, or a key tool
        "$program" --version
      done
      runHook postInstallCheck
    '';

    meta = {
      description = "Secrets from sops files, at activation and in the initrd of NixOS";
      license = lib.licenses.mit;
      platforms = lib.platforms.linux;
      mainProgram = "sops-initrd";
      outputsToInstall = finalAttrs.outputs;
    };
  }
)
