package vm

// Prelude begins the init of a busybox guest: mounts, a quiet console (a kernel message in the
// middle of a result line would spoil it; what the unpacking of the image had to say has been
// printed by then), and the functions of the protocol:
//
//	result NAME ok|fail [DETAIL]
//	describe PATH...              RESULT PATH ok TYPE MODE UID GID SIZE SHA256|TARGET, or "missing"
//	finish                        DONE, and power off
const Prelude = `#!/bin/busybox sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mkdir -p /proc /sys /dev /run /tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
dmesg -n 1
result() { n=$1 v=$2; shift 2; echo "RESULT $n $v $*"; }
describe() {
  for p; do
    if [ -L "$p" ]; then result "$p" ok "link $(readlink "$p")"
    elif [ -d "$p" ]; then result "$p" ok "dir $(stat -c '%a %u %g' "$p")"
    elif [ -f "$p" ]; then s=$(sha256sum "$p"); result "$p" ok "file $(stat -c '%a %u %g %s' "$p") ${s%% *}"
    else result "$p" ok missing; fi
  done
}
finish() { echo DONE; sync; poweroff -f; }
`
