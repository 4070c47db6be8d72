"""The doctor on iSCSI: the kernel's module, iscsid, this host's name, and what lies in iscsid's database."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from agent.cli.doctor_host import Finding, Host, Level, failure, ok, unchecked, warning

INITIATOR = "/etc/iscsi/initiatorname.iscsi"
LOCK = "/run/lock/iscsi/lock.write"
NODES = ("/etc/iscsi/nodes", "/var/lib/iscsi/nodes")
IFACES = ("/etc/iscsi/ifaces", "/var/lib/iscsi/ifaces")
MODPROBE = ("/etc/modprobe.d", "/run/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d")
IQN = re.compile(r"iqn\.\d{4}-\d{2}\.[a-z0-9][a-z0-9.-]*(:[^\s:][^\s]*)?|eui\.[0-9A-Fa-f]{16}|naa\.[0-9A-Fa-f]{16,32}")
NEW_NAME = (
    f'printf "InitiatorName=%s\\n" "$(iscsi-iname)" > {INITIATOR} && chmod 0600 {INITIATOR}'
    " && systemctl try-restart iscsid.service && systemctl restart cdmi-attach-helperd.service"
)
OURS_MEANS = "no login to a target works without it"
BAD_VERSIONS = ("2.1.10",)
CLONE_MARGIN_S = 3600


def module(host: Host) -> Finding:
    """iscsi_tcp is loaded, or can be; iscsid honours blacklists."""
    for place in MODPROBE:
        for path in sorted(host.path(place).glob("*.conf")):
            if re.search(r"^\s*(install|blacklist)\s+iscsi[_-]tcp\b", path.read_text(errors="replace"), re.MULTILINE):
                name = f"{place}/{path.name}"
                mend = f"sed -i -E '/^\\s*(install|blacklist)\\s+iscsi[_-]tcp\\b/d' {shlex.quote(name)}"
                return failure(f"{name} keeps iscsi_tcp from being loaded", OURS_MEANS, f"{mend} && modprobe iscsi_tcp")
    if host.path("/sys/module/iscsi_tcp").exists():
        return ok("iscsi_tcp is loaded")
    if host.run(["modprobe", "--dry-run", "iscsi_tcp"]).status != 0:
        return failure("this kernel has no module iscsi_tcp", OURS_MEANS, "apt-get install linux-image-amd64 && reboot")
    return ok("iscsi_tcp can be loaded")


def iscsid(host: Host) -> Finding:
    """iscsid runs, or its socket starts it."""
    if host.units is None:
        return unchecked("systemd does not answer")
    socket, service = host.units["iscsid.socket"], host.units["iscsid.service"]
    means = "iscsid does every login, and watches over the sessions"
    if service.load == "masked":
        mend = "systemctl unmask iscsid.service && systemctl start iscsid.socket"
        return failure("iscsid.service is masked", means, mend)
    if "active" in (socket.active, service.active):
        return ok("iscsid runs" if service.active == "active" else "iscsid starts when it is needed")
    if "not-found" in (socket.load, service.load):
        return failure("iscsid is not installed", means, "apt-get install open-iscsi")
    if socket.load == "masked":
        return failure(
            "iscsid.socket is masked", means, "systemctl unmask iscsid.socket && systemctl start iscsid.socket"
        )
    return failure("neither iscsid nor its socket is active", means, "systemctl enable --now iscsid.socket")


def initiator_name(host: Host) -> Finding:
    """This host's name towards targets is there, is a name, and is nobody else's."""
    means = "targets know this host by that name: it is what the CDMI server gives permission to"
    try:
        text = host.text(INITIATOR)
    except PermissionError:
        return unchecked(f"only root may read {INITIATOR}")
    if text is None:
        return failure(f"there is no {INITIATOR}", means, NEW_NAME)
    names = re.findall(r"^\s*InitiatorName\s*=\s*(\S*)", text, re.MULTILINE)
    if not names and re.search(r"^\s*GenerateName\s*=\s*yes", text, re.MULTILINE):
        return failure("the name is still to be made (GenerateName=yes)", means, NEW_NAME)
    if not names or not IQN.fullmatch(names[0]):
        return failure(f"{INITIATOR} names no iqn: {ascii(names[0]) if names else 'nothing'}", means, NEW_NAME)
    if len(names) > 1:
        mend = f"sed -i -E '0,/^\\s*InitiatorName/! s/^\\s*InitiatorName.*//' {INITIATOR}"
        return failure(f"{INITIATOR} has {len(names)} names", "iscsid and we may take different ones", mend)
    found = _perhaps_a_clone(host, names[0])
    return found if found.level is not Level.OK else _of_interface(host, names[0])


def _of_interface(host: Host, name: str) -> Finding:
    """The name that a login by the configured interface says: its own, where it has one."""
    iface = str((host.config or {}).get("iscsi", {}).get("interface", "default"))
    if iface in ("", "default", "iser"):
        return ok(name)
    text = next((text for place in IFACES if (text := host.text(f"{place}/{iface}")) is not None), None)
    if text is None:
        mend = f"iscsiadm -m iface -I {shlex.quote(iface)} -o new"
        return failure(f"open-iscsi has no interface {iface!a}, which the configuration names", OURS_MEANS, mend)
    own = re.findall(r"^[ \t]*iface\.initiatorname[ \t]*=[ \t]*(.*?)[ \t]*$", text, re.MULTILINE)
    if not own or own[-1] in ("", "<empty>"):
        return ok(name)
    if not IQN.fullmatch(own[-1]):
        means = "targets know this host by that name on that interface"
        mend = f'iscsiadm -m iface -I {shlex.quote(iface)} -o update -n iface.initiatorname -v "$(iscsi-iname)"'
        return failure(f"interface {iface} names no iqn: {own[-1]!a}", means, mend)
    return ok(f"{own[-1]} (of interface {iface})")


def _perhaps_a_clone(host: Host, name: str) -> Finding:
    machine = host.path("/etc/machine-id")
    if machine.exists():
        older_s = machine.stat().st_mtime - host.path(INITIATOR).stat().st_mtime
        if older_s > CLONE_MARGIN_S:
            means = "where this host was made from an image, every copy has that name, and sees the others' disks"
            mend = f"touch {INITIATOR}  # it is this host's own; else: {NEW_NAME}"
            return warning(f"{name} is older than this machine's identity", means, mend)
    return ok(name)


def initiator_file(host: Host) -> Finding:
    """Only root may change the name."""
    path = host.path(INITIATOR)
    if not path.exists():
        return unchecked(f"there is no {INITIATOR}", "")
    found = path.stat()
    if found.st_mode & 0o022 or found.st_uid != host.path("/etc").stat().st_uid:
        mode = f"mode {found.st_mode & 0o7777:04o}, user {found.st_uid}"
        means = "whoever writes it may take another host's name, and its disks"
        return failure(
            f"{INITIATOR} can be written by others ({mode})",
            means,
            f"chown root: {INITIATOR} && chmod 0600 {INITIATOR}",
        )
    return ok(f"{INITIATOR} is root's")


def node_records(host: Host) -> Finding:
    """Each record of iscsid's database can be read, and says where."""
    try:
        bad = [(path, what) for path, what in _records(host) if what]
    except PermissionError:
        return unchecked("only root may read iscsid's database")
    if not bad:
        return _readable(host)
    names = [_name(host, path) for path, _ in bad]
    says = f"{names[0]} {bad[0][1]}" + (f", and {len(bad) - 1} more" if len(bad) > 1 else "")
    mend = f"rm -rf -- {shlex.join(names)}"
    return failure(says, "a record that iscsiadm cannot read makes each of its commands fail", mend)


def _readable(host: Host) -> Finding:
    """What only iscsiadm can tell: whether it knows every key (libopeniscsiusr/idbm.c); after an update it may not."""
    done = host.run(["iscsiadm", "-m", "node"])
    found = re.search(r"config file (\S+) invalid", done.out + done.err)
    if found is None:
        return ok("every record of iscsid's database can be read")
    key = re.search(r"Unknown parameter name (\S+)", done.out + done.err)
    says = f"{found[1]} has a key that this open-iscsi does not know" + (f": {key[1]}" if key else "")
    mend = f"rm -- {shlex.quote(found[1])}  # and make the record anew; a session that was made with it goes on"
    return failure(says, "a record that iscsiadm cannot read makes each of its lists fail", mend)


def _records(host: Host) -> Iterator[tuple[Path, str]]:
    """Every record, with what is wrong with it: a file, or a folder of files, below target and portal."""
    for place in NODES:
        nodes = host.path(place)
        for target in sorted(nodes.iterdir()) if nodes.is_dir() else ():
            portals = sorted(target.iterdir()) if target.is_dir() else [target]
            if not portals:
                yield target, "has no portal"
            for portal in portals:
                files = sorted(portal.iterdir()) if portal.is_dir() else [portal]
                if not files:
                    yield portal, "is empty"
                for file in files:
                    yield file if file.stat().st_size else portal, "" if file.stat().st_size else "has no content"


def node_startup(host: Host) -> Finding:
    """No record makes the boot log in by itself."""
    means = "the boot logs in to it by itself and looks for every disk of it: they are guests'"
    try:
        found = [path for path, what in _records(host) if not what and _is_automatic(path)]
    except PermissionError:
        return unchecked("only root may read iscsid's database")
    if not found:
        return ok("no record is logged in to at boot")
    mends = []
    for path in found:
        portal = path if "," in path.name else path.parent
        address, port = portal.name.split(",")[:2]
        shown = f"[{address}]" if ":" in address else address
        node = f"iscsiadm -m node -T {shlex.quote(portal.parent.name)} -p {shlex.quote(f'{shown}:{port}')}"
        mends.append(f"{node} -o update -n node.startup -v manual")
    return warning(f"{len(found)} records have node.startup = automatic", means, " && ".join(mends))


def _is_automatic(path: Path) -> bool:
    text = path.read_text(errors="replace")
    return bool(re.search(r"^\s*node\.startup\s*=\s*automatic\s*$", text, re.MULTILINE))


def _name(host: Host, path: Path) -> str:
    return f"/{path.relative_to(host.root)}"


def lock(host: Host) -> Finding:
    """No killed iscsiadm has left its lock behind."""
    path = host.path(LOCK)
    try:
        if path.exists() and not _running(host, "iscsiadm") and path.exists():
            means = "every iscsiadm waits 30 s for it, and newer ones then fail"
            return failure(f"{LOCK} is there, and no iscsiadm is", means, f"rm {LOCK}")
    except PermissionError:
        return unchecked(f"only root may look for {LOCK}")
    return ok("iscsid's database is not locked")


def _running(host: Host, name: str) -> bool:
    return any((host.text(f"/proc/{entry.name}/comm") or "").strip() == name for entry in _processes(host))


def _processes(host: Host) -> Iterator[Path]:
    return (entry for entry in host.path("/proc").iterdir() if entry.name.isdigit())


def version(host: Host) -> Finding:
    """open-iscsi is there, and is not a release that hangs."""
    done = host.run(["iscsiadm", "--version"])
    found = re.search(r"(\d+\.\d+[\w.]*)", done.out + done.err)
    if done.status != 0 or found is None:
        return failure("there is no iscsiadm that runs", OURS_MEANS, "apt-get install open-iscsi")
    if found[1] in BAD_VERSIONS:
        means = "a login to a target without an automatic scan may hang in it (open-iscsi issue 485)"
        mend = "apt-get install --only-upgrade open-iscsi"
        return failure(f"open-iscsi is {found[1]}", means, mend)
    return ok(f"open-iscsi {found[1]}")
