"""`doctor`: everything an attach would need on this host; for each thing that is missing, the command that mends it."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from textwrap import wrap

from agent.cli import (
    doctor_daemon,
    doctor_fc,
    doctor_iscsi,
    doctor_multipath,
    doctor_nfs,
    doctor_storage,
    show,
)
from agent.cli.client import FAILED, USAGE, Failure
from agent.cli.doctor_host import Finding, Host, Level, this_host, unchecked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.cli.verbs import Words

Check = Callable[[Host], Finding]
CHECKS: dict[str, Check] = {
    "iscsi-module": doctor_iscsi.module,
    "iscsid": doctor_iscsi.iscsid,
    "open-iscsi": doctor_iscsi.version,
    "initiator-name": doctor_iscsi.initiator_name,
    "initiator-file": doctor_iscsi.initiator_file,
    "node-records": doctor_iscsi.node_records,
    "node-startup": doctor_iscsi.node_startup,
    "iscsi-lock": doctor_iscsi.lock,
    "fc-ports": doctor_fc.ports,
    "nfs-module": doctor_nfs.module,
    "lio": doctor_nfs.lio,
    "multipath": doctor_multipath.multipath,
    "lvm": doctor_storage.lvm,
    "udev-rule": doctor_storage.udev_rule,
    "directories": doctor_storage.directories,
    "libvirt": doctor_storage.libvirt,
    "disk-space": doctor_storage.room,
    "clock": doctor_storage.clock,
    "units": doctor_daemon.units,
    "config": doctor_daemon.config,
    "credentials": doctor_daemon.credentials,
    "group": doctor_daemon.group,
    "health": doctor_daemon.health,
    "servers": doctor_daemon.servers,
}
"""Every check, in the order in which it is best to mend: what a later one needs comes first."""
COLOURS = {Level.OK: show.GREEN, Level.WARNING: show.YELLOW, Level.FAILURE: show.RED, Level.UNCHECKED: show.DIM}
INDENT = " " * 10


def run(args: "Words") -> int:
    """Print what was found. Returns 0 unless something failed."""
    unknown = [name for name in args.check if name not in CHECKS]
    if unknown:
        raise Failure(USAGE, f"there is no check {unknown[0]}: there are {', '.join(CHECKS)}", "")
    found = examine(this_host(args.socket), args.check or tuple(CHECKS))
    if args.json:
        checks = [{"check": name, **asdict(finding)} for name, finding in found.items()]
        print(show.as_json({"ok": not _count(found, Level.FAILURE), "checks": checks}))
    else:
        print(text(found, colours=show.coloured(sys.stdout)))
        show.say(summary(found))
    return FAILED if _count(found, Level.FAILURE) else 0


def examine(host: Host, names: Sequence[str]) -> dict[str, Finding]:
    """Make these checks; what an ordinary user may not look at is unchecked."""
    return {name: _examined(CHECKS[name], host) for name in names}


def _examined(check: Check, host: Host) -> Finding:
    try:
        return check(host)
    except PermissionError as error:
        return unchecked(f"only root may read {error.filename}")
    except OSError as error:
        return unchecked(f"{error.filename}: {error.strerror}")


def text(found: dict[str, Finding], *, colours: bool) -> str:
    """One line for what is well; meaning and remedy for what is not. Remedies are to be copied: never wrapped."""
    lines = []
    for name, finding in found.items():
        finding = replace(finding, says=show.visible(finding.says))
        level = show.paint(f"{finding.level:9}", COLOURS[finding.level], on=colours)
        first, *more = wrap(finding.says, show.WIDTH - 26, break_on_hyphens=False) or [""]
        lines += [f"{level} {name:15} {first}", *(f"{'':26}{line}" for line in more)]
        if finding.means:
            lines += [f"{INDENT}{line}" for line in wrap(finding.means, show.WIDTH - len(INDENT))]
        if finding.mend:
            lines.append(f"{INDENT}{show.paint('$', show.DIM, on=colours)} {show.visible(finding.mend)}")
    return "\n".join(lines)


def summary(found: dict[str, Finding]) -> str:
    """`2 failures, 1 warning, 3 unchecked`."""
    parts = []
    for level, plural in ((Level.FAILURE, "failures"), (Level.WARNING, "warnings"), (Level.UNCHECKED, "unchecked")):
        if count := _count(found, level):
            parts.append(f"{count} {level if count == 1 else plural}")
    return ", ".join(parts) or "an attach has all that it needs here"


def _count(found: dict[str, Finding], level: Level) -> int:
    return sum(finding.level is level for finding in found.values())
