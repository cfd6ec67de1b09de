#!/usr/bin/env bash
# appender.bash on a copy that takes the image's place when all of it is on disk.
# usage: replace.bash IMAGE DESTINATION=SOURCE...
set -e
image=$1
shift
temporary=$(mktemp "$image.XXXXXXXX")
cp "$image" "$temporary"
"$(dirname "$0")/appender.bash" "$temporary" "$@"
sync "$temporary"
mv "$temporary" "$image"
sync "$(dirname "$image")"
