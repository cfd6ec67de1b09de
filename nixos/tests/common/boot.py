import hashlib


def prepare(machine):
    """Boots the machine as it was installed, and gives it its host key."""
    machine.start()
    machine.wait_for_unit("multi-user.target")
    machine.succeed(f"install -m 0600 {host_key} /etc/ssh/ssh_host_ed25519_key")


def switch(machine, system):
    """One switch to a system, as nixos-rebuild does it."""
    machine.succeed(f"nix-env -p /nix/var/nix/profiles/system --set {system}")
    machine.succeed(f"{system}/bin/switch-to-configuration switch >&2")


def reboot(machine):
    machine.succeed("sync")
    machine.shutdown()
    machine.start()
    machine.wait_for_unit("multi-user.target")


def recorded(machine, path):
    """SHA-256, mode, owner and group of a file in stage 1; None if it was not there."""
    for line in machine.succeed("cat /run/stage-1 || true").splitlines():
        name, *rest = line.split()
        if name == path:
            return rest
    return None


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def search(machine, *values):
    """No value is on the root file system, not even in a file that was removed."""
    machine.succeed("sync")
    root = machine.succeed("findmnt -n -o SOURCE /").strip()
    for value in values:
        machine.fail(f"grep -a -q -F -e '{value}' {root}")
