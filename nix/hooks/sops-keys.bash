# shellcheck shell=bash
# Shell hooks for nix-shell and "nix develop" that make a team's OpenPGP keys known. The package substitutes two words of this
# file: the path of gpg, and which of the two functions the shell runs at its start.
#
#   sopsImportKeysHook   imports the keys into gpg's keyring
#   sopsPGPHook          imports them and adds their fingerprints to SOPS_PGP_FP, to which sops encrypts new files
#
# Both read these variables of the shell's derivation:
#
#   sopsPGPKeys          key files
#   sopsPGPKeyDirs       directories that are searched, with everything below them, for *.asc and *.gpg
#   sopsCreateGPGHome    if not empty, a keyring of the project's own is used, in
#   sopsGPGHome          this directory (default: "gnupg" in the project's git directory)
#
# A list is a bash array (__structuredAttrs), or a string with one path a line or with blanks between the paths. A key that
# cannot be read is reported and skipped. The shell's options stay as they are.

_sopsSay() {
  printf 'sops: %s\n' "$*" >&2
}

# _sopsPaths NAME: put the paths that the variable NAME lists into the array paths. Where blanks separate them, the longest
# run of words that exists is one path: a checkout below "my projects" works.
_sopsPaths() {
  paths=()
  [[ -v $1 ]] || return 0
  local -n _sopsList=$1
  if [[ ${_sopsList@a} == *a* ]]; then
    paths=("${_sopsList[@]}")
    return 0
  fi
  local words=() first last candidate path next
  if [[ $_sopsList == *$'\n'* ]]; then
    while IFS= read -r path; do
      [[ -z $path ]] || paths+=("$path")
    done <<<"$_sopsList"
    return 0
  fi
  IFS=$' \t' read -r -a words <<<"$_sopsList"
  for ((first = 0; first < ${#words[@]}; first = next)); do
    path=${words[first]} candidate=$path next=$((first + 1))
    for ((last = first + 1; last < ${#words[@]}; last++)); do
      candidate+=" ${words[last]}"
      if [[ -e $candidate ]]; then
        path=$candidate next=$((last + 1))
      fi
    done
    paths+=("$path")
  done
}

# _sopsGitDir: print the git directory of the project around the working directory; that of a worktree is named in files.
_sopsGitDir() {
  local dir=$PWD line
  until [[ -e $dir/.git ]]; do
    [[ -n $dir ]] || return 1
    dir=${dir%/*}
  done
  if [[ -d $dir/.git ]]; then
    printf '%s\n' "$dir/.git"
    return 0
  fi
  IFS= read -r line <"$dir/.git" || return 1
  line=${line#gitdir: }
  [[ $line == /* ]] || line=$dir/$line
  # git removes the directory of a worktree with it; a keyring belongs to the whole repository.
  if [[ -e $line/commondir ]] && IFS= read -r dir <"$line/commondir"; then
    [[ $dir == /* ]] || dir=$line/$dir
    line=$(cd "$dir" && pwd) || return 1
  fi
  [[ -d $line ]] && printf '%s\n' "$line"
}

# _sopsUseGPGHome: make and export the project's own keyring if one is wanted. Fails if it cannot be had: then no key may be
# imported, as it would end up in the user's.
_sopsUseGPGHome() {
  [[ -n ${sopsCreateGPGHome-} ]] || return 0
  local home=${sopsGPGHome-}
  if [[ -z $home ]]; then
    if ! home=$(_sopsGitDir); then
      _sopsSay "no git directory at or above $PWD for a keyring: set sopsGPGHome. No key was imported."
      return 1
    fi
    home+=/gnupg
  fi
  [[ $home == /* ]] || home=$PWD/$home
  home=${home%/}
  if ! { [[ -d $home ]] || { mkdir -p -- "${home%/*}" && mkdir -m 700 -- "$home"; }; }; then
    _sopsSay "no keyring at $home. No key was imported."
    return 1
  fi
  export GNUPGHOME=$home
}

# _sopsImport FILE: import one key file.
_sopsImport() {
  if [[ ! -f $1 ]]; then
    _sopsSay "$1 does not exist"
    return 1
  fi
  if ! @gpg@ --batch --quiet --import -- "$1"; then
    _sopsSay "$1 was not imported"
    return 1
  fi
}

# _sopsAddFingerprints FILE: add the primary keys in FILE to SOPS_PGP_FP, each once. A "pub" record's fingerprint is in the
# "fpr" record that follows it; those of subkeys follow "sub" records (GnuPG, doc/DETAILS).
_sopsAddFingerprints() {
  local fields primary=
  while IFS=: read -r -a fields; do
    case ${fields[0]-} in
      pub | sec) primary=${fields[1]:--} ;;
      sub | ssb) primary= ;;
      fpr)
        case $primary in
          '') ;;
          e | r) _sopsSay "$1: key ${fields[9]} is expired or revoked, left out of SOPS_PGP_FP" ;;
          *) [[ ,${SOPS_PGP_FP-}, == *,"${fields[9]}",* ]] || export SOPS_PGP_FP="${SOPS_PGP_FP:+$SOPS_PGP_FP,}${fields[9]}" ;;
        esac
        primary=
        ;;
    esac
  done < <(@gpg@ --batch --quiet --with-colons --show-keys -- "$1")
}

# _sopsEachKey COMMAND...: run the commands, until one fails, for each key file.
_sopsEachKey() {
  local paths files path file command
  _sopsPaths sopsPGPKeys
  files=("${paths[@]}")
  _sopsPaths sopsPGPKeyDirs
  for path in "${paths[@]}"; do
    if [[ ! -d $path ]]; then
      _sopsSay "directory $path does not exist"
      continue
    fi
    # A path that begins with a hyphen must not be an option of find.
    [[ $path == /* ]] || path=./$path
    while IFS= read -r -d '' file; do
      files+=("$file")
    done < <(find -L "$path" -type f \( -name '*.gpg' -o -name '*.asc' \) -print0 | LC_ALL=C sort -z)
  done
  for file in "${files[@]}"; do
    for command in "$@"; do
      "$command" "$file" || break
    done
  done
}

sopsImportKeysHook() {
  _sopsUseGPGHome && _sopsEachKey _sopsImport
  return 0
}

sopsPGPHook() {
  _sopsUseGPGHome && _sopsEachKey _sopsImport _sopsAddFingerprints
  return 0
}

if [[ ";${shellHook-}" != *";@hook@;"* ]]; then
  shellHook="@hook@;${shellHook-}"
fi
