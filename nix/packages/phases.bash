# The phases of the package, apart from its Nix expression so that scripts/check-package can run them without Nix. The
# shellcheck shell=bash disable=SC2154
# lists activationPrograms and keytoolPrograms, the flags full and runnable, and linkerFlags come from whoever sources this
# file; the outputs are those of the derivation.

# What buildGoModule installs afterwards is what lies in $GOPATH/bin.
build_programs() {
  LDFLAGS=$linkerFlags bash scripts/slim "$([[ $full ]] && echo build || echo small)" "$GOPATH" ./cmd/sops-initrd \
    "${activationPrograms[@]/#/./cmd/}" "${keytoolPrograms[@]/#/./cmd/}"
}

# Short on purpose: nobody has a cache of this package, so every host runs it. The rest is the package's passthru.tests.
test_programs() {
  export HOME=$TMPDIR
  go test -vet=off ./cmd/ssh-to-age ./cmd/ssh-to-pgp ./internal/cli ./internal/manifest ./internal/sshkey ./internal/template
}

install_programs() {
  local page program
  mkdir -p "$activation/bin" "$keytools/bin"
  for program in "${activationPrograms[@]}"; do mv "$out/bin/$program" "$activation/bin/"; done
  mv "${keytoolPrograms[@]/#/$out/bin/}" "$keytools/bin/"
  if [[ $full ]]; then
    mkdir -p {"$out","$activation"}/libexec/sops-initrd
    mv "$GOPATH/libexec/sops-initrd/sops-initrd" "$out/libexec/sops-initrd/"
    for program in "${activationPrograms[@]}"; do
      mv "$GOPATH/libexec/sops-initrd/$program" "$activation/libexec/sops-initrd/"
    done
  fi
  for page in docs/man/*.md; do
    go-md2man -in "$page" -out "$(basename "$page" .md)"
    installManPage "$(basename "$page" .md)"
  done
  [[ $runnable ]] || return 0
  installShellCompletion --cmd sops-initrd \
    --bash <("$out/bin/sops-initrd" completion bash) \
    --fish <("$out/bin/sops-initrd" completion fish) \
    --zsh <("$out/bin/sops-initrd" completion zsh)
  LDFLAGS=$linkerFlags bash scripts/slim man pages
  installManPage pages/*
}

# Every program runs, and says the version that was built.
check_installed() {
  local program said
  for program in {"$out","$activation","$keytools"}/{bin,libexec/sops-initrd}/*; do
    [[ -e $program ]] || continue # a small program alone, or a key tool
    said=$("$program" --version)
    [[ $said == *"$version"* ]] || { echo "$program says $said, not version $version" >&2; return 1; }
  done
}
