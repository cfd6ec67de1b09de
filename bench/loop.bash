#!/usr/bin/env bash
# What one does with sops alone: a call for every secret.
# usage: loop.bash SOPS DIRECTORY LIST, where every line of LIST is "NAME EXTRACT FILE"; EXTRACT may be "-" for the whole file
set -e
sops=$1 directory=$2 list=$3
umask 077
while read -r name extract file; do
  if [[ $extract == - ]]; then
    "$sops" decrypt --input-type binary --output-type binary "$file" >"$directory/$name"
  else
    "$sops" decrypt --extract "$extract" "$file" >"$directory/$name"
  fi
done <"$list"
