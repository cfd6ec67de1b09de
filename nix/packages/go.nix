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
  openssh,
  vendorHash,
  # Beside the small programs, which lack the software development kits of clouds, lie the full ones
  # that they become when a sops file needs such a key. Without them checks fail, naming the file.
  full ? true,
}:

let
  inherit (lib) fileset;

  onLinux = stdenv.hostPlatform.isLinux;
  # What installs secrets mounts file systems, which only Linux has in this form.
  activation = lib.optional onLinux "sops-install-secrets";
  keytools = [
    "ssh-to-age"
    "ssh-to-pgp"
    "sops-init-gpg-key"
  ];
  # A host has only the programs that it uses.
  outputs = [
    "out"
    "activation"
    "keytools"
    "man"
  ];

  # An edit of anything else must not change the package: initrds are named after it.
  files = map (name: ../.. + "/${name}") (
    lib.splitString "\n" (lib.removeSuffix "\n" (builtins.readFile ./source.list))
  );

  runnable = stdenv.buildPlatform.canExecute stdenv.hostPlatform;
in
buildGoModule (
  finalAttrs:
  let
    array = name: words: "${name}=(${lib.escapeShellArgs words})\n";
    flag = name: value: "${name}=${lib.optionalString value "yes"}\n";
    functions =
      array "activationPrograms" activation
      + array "keytoolPrograms" keytools
      + flag "full" full
      + flag "runnable" runnable
      + "linkerFlags=${lib.escapeShellArg (toString finalAttrs.ldflags)}\n"
      + ". ${./phases.bash}\n";
    phase = name: function: ''
      runHook pre${name}
      ${functions}${function}
      runHook post${name}
    '';
  in
  {
    pname = "sops-initrd" + lib.optionalString (!full) "-small";
    version = lib.fileContents ../../internal/cli/VERSION;

    src = fileset.toSource {
      root = ../..;
      fileset = fileset.unions files;
    };

    inherit vendorHash outputs;

    ldflags = [
      "-s"
      "-w"
    ];

    nativeBuildInputs = [
      go-md2man
      installShellFiles
      makeWrapper
    ];

    buildPhase = phase "Build" "build_programs";
    checkPhase = phase "Check" "test_programs";

    postInstall = functions + ''
      install_programs
      wrapProgram $keytools/bin/sops-init-gpg-key --prefix PATH : ${lib.makeBinPath [ gnupg ]}
    '';

    doInstallCheck = runnable;
    installCheckPhase = phase "InstallCheck" "check_installed";

    # Everything, with what it needs of the rest of this repository.
    passthru.tests.go = finalAttrs.finalPackage.overrideAttrs (package: {
      pname = "${package.pname}-tests";
      repository = fileset.toSource {
        root = ../..;
        fileset = fileset.difference ../.. (
          fileset.unions (
            map fileset.maybeMissing [
              ../../.git
              ../../build
              ../../vendor
            ]
          )
        );
      };
      nativeCheckInputs = [
        bashInteractive
        gnupg
        openssh
      ];
      checkPhase = ''
        runHook preCheck
        export HOME=$TMPDIR
        cp -r --no-preserve=mode "$repository/." .
        go test ./cmd/... ./initrd/... ./internal/...
        runHook postCheck
      '';
    });

    meta = {
      description = "Secrets from sops files, at activation and in the initrd of NixOS";
      homepage = "https://github.com/sops-initrd/sops-initrd";
      changelog = "https://github.com/sops-initrd/sops-initrd/blob/main/CHANGELOG.md";
      license = lib.licenses.mit;
      maintainers = [
        {
          name = "The maintainers of sops-initrd";
          github = "sops-initrd";
        }
      ];
      platforms = lib.platforms.unix;
      mainProgram = "sops-initrd";
      outputsToInstall = [
        "out"
        "man"
      ];
    };
  }
)
