#!/usr/bin/env bash
# What NixOS appends initrd secrets with, in shape: a staging directory, a copy of every source, find | sort | cpio, zstd, append.
# usage: appender.bash IMAGE DESTINATION=SOURCE...
set -e
image=$1
shift
staging=$(mktemp -d "${TMPDIR:-/tmp}/initrd-secrets.XXXXXXXXXX")
trap 'rm -rf "$staging"' EXIT
for entry; do
  destination=.initrd-secrets${entry%%=*}
  mkdir -p "$staging/$(dirname "$destination")"
  cp -a "${entry#*=}" "$staging/$destination"
done
(cd "$staging" && find . -mindepth 1 -print0 | sort -z | cpio --quiet -o -H newc -R +0:+0 --reproducible --null) |
  zstd -q -19 -T0 >>"$image"
