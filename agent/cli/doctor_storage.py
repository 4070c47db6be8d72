"""The doctor on what else touches disks here: LVM, udev, libvirt; and on room and time."""

import re
import shlex

from agent.cli.doctor_host import CONFIG, Finding, Host, failure, ok, unchecked, warning

RULE = "10-cdmi-attach.rules"
PROOFS = "/run/cdmi-attach/proved/"
REJECT = '"r|^/dev/cdmi-attach/|"'
STATES = ("/var/lib/cdmi-attach", "/var/lib/cdmi-attach-helper")
FULL, SCARCE = 16 << 20, 128 << 20
DIRECTORIES = {
    "/run/cdmi-attach": 0o755,
    "/run/cdmi-attach/disk": 0o755,
    "/run/cdmi-attach/claim": 0o755,
    "/run/cdmi-attach/map": 0o755,
    "/run/cdmi-attach/mnt": 0o711,
}
INSTALL = "make install  # in the sources of cdmi-attach"
EARLIEST_S = 1735689600
"""2025-01-01: before that, the clock was never set."""


def lvm(host: Host) -> Finding:
    """LVM does not look into guests' disks."""
    done = host.run(["lvmconfig", "--type", "full", "devices/use_devicesfile", "devices/global_filter"])
    if done.status != 0 and not done.out:
        return ok("LVM is not installed")
    if (
        re.search(r"^\s*use_devicesfile=1", done.out, re.MULTILINE)
        and host.path("/etc/lvm/devices/system.devices").exists()
    ):
        return ok("LVM looks at the disks of its devices file only")
    found = re.search(r"^global_filter=\s*(?:\[(.*)\]|(\".*\"))", done.out, re.MULTILINE)
    present = ((found[1] or found[2]) if found else "").strip()
    if "cdmi-attach" in present:
        return ok("LVM passes over guests' disks")
    both = ", ".join(part for part in (REJECT, present) if part)
    means = "vgs and pvs on this host read guests' disks, and may activate what guests have there"
    mend = rf"printf 'devices {{\n\tglobal_filter = [ %s ]\n}}\n' {shlex.quote(both)} >> /etc/lvm/lvmlocal.conf"
    return warning("LVM looks into every disk, guests' too", means, mend)


def udev_rule(host: Host) -> Finding:
    """The rule that keeps this host's hands off guests' disks is there, and not hidden by another one."""
    means = "without it udev, LVM and others read each disk that is attached, and hold it when it should go"
    for place in ("/etc/udev/rules.d", "/run/udev/rules.d"):
        path = host.path(f"{place}/{RULE}")
        if path.is_symlink() or path.exists():
            mend = f"rm {place}/{RULE} && udevadm control --reload"
            return failure(f"{place}/{RULE} hides the rule that was installed", means, mend)
    if not host.path(f"/usr/lib/udev/rules.d/{RULE}").exists():
        return failure(f"/usr/lib/udev/rules.d/{RULE} is not there", means, INSTALL)
    if PROOFS not in host.path(f"/usr/lib/udev/rules.d/{RULE}").read_text():
        means = "a disk is linked by what it says, before it has proved itself, and a link may outlive its disk"
        return failure(f"{RULE} is of an older version, which knows of no proofs", means, INSTALL)
    return ok(f"{RULE} is installed")


def directories(host: Host) -> Finding:
    """Links, claims and mounts have their places, and QEMU may go through them."""
    means = "links and mounts are kept there, and udev looks there for the disks that are ours"
    mend = "systemd-tmpfiles --create cdmi-attach.conf"
    for name, mode in DIRECTORIES.items():
        path = host.path(name)
        if not path.is_dir():
            return failure(f"there is no {name}", means, mend)
        if path.stat().st_mode & 0o777 != mode:
            return failure(f"{name} has mode {path.stat().st_mode & 0o777:04o}, not {mode:04o}", means, mend)
    return ok("/run/cdmi-attach is as it should be")


def libvirt(host: Host) -> Finding:
    """libvirt answers: needed for --domain, and to see who uses a disk."""
    uri = str((host.config or {}).get("libvirt", {}).get("uri", "qemu:///system"))
    means = "attachments work, but are not handed to domains, and running domains are not seen"
    version = host.run(["virsh", "--version"])
    if version.status != 0:
        return warning("libvirt is not installed", means, "apt-get install libvirt-daemon-system python3-libvirt")
    units = host.units or {}
    sockets = [name for name in ("libvirtd.socket", "virtqemud.socket") if name in units]
    there = [name for name in sockets if units[name].load not in ("not-found", "")]
    if there and not any(units[name].active == "active" for name in there):
        name = there[-1]
        mend = f"systemctl unmask {name} && " if units[name].load == "masked" else ""
        return failure(f"{name} is not active", means, f"{mend}systemctl start {name}")
    if host.run(["virsh", "--readonly", "--connect", uri, "uri"]).status != 0:
        if host.uid != 0:
            return unchecked(f"libvirt does not let {host.user} connect to {uri}")
        mend = (
            "systemctl restart libvirtd.service"
            if "virtqemud.socket" not in there
            else "systemctl restart virtqemud.service"
        )
        return failure(f"libvirt does not answer at {uri}", means, mend)
    return ok(f"libvirt {version.out.strip()} answers at {uri}")


def room(host: Host) -> Finding:
    """The ledgers can be written."""
    for name in STATES:
        path = host.path(name) if host.path(name).exists() else host.path("/var/lib")
        try:
            free = host.free(path)
        except PermissionError:
            return unchecked(f"only root may look at {name}")
        mend = "journalctl --vacuum-size=64M && apt-get clean"
        if free < FULL:
            means = "what is wanted cannot be written down: attach and detach are refused"
            return failure(f"{name} has {free >> 20} MiB left", means, mend)
        if free < SCARCE:
            return warning(f"{name} has {free >> 20} MiB left", "attach and detach are refused without room", mend)
    return ok("there is room for the ledgers")


def clock(host: Host) -> Finding:
    """The time is right, so that certificates are."""
    means = "servers' certificates are not valid at a wrong time, and logs do not fit together"
    mend = "timedatectl set-ntp true"
    program = host.path(CONFIG)
    latest = program.stat().st_mtime if program.exists() else 0
    if host.now_s < max(EARLIEST_S, latest - 86400):
        return failure("the clock is behind this host's own files", means, mend)
    done = host.run(["timedatectl", "show", "--property=NTPSynchronized", "--value"])
    if done.status != 0:
        return unchecked("timedatectl does not answer", "systemctl start systemd-timedated.service")
    if done.out.strip() != "yes":
        return warning("nothing keeps the clock right", means, mend)
    return ok("the clock is kept right")
