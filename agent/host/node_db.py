"""iscsid's database of node records: small files, which we read, correct and remove under its own lock.

A directory for each target; in it for each portal a file (`ip,port`: a record made by hand, as ours are) or a directory
(`ip,port,tpgt`: one that was discovered) with a file for each interface (open-iscsi: usr/idbm.c idbm_rec_write).
Nothing here waits: whoever changes the database holds `locked`, and is brief.
"""

import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.host import sysfs
from agent.host.roots import Roots
from attachers import checks
from attachers.problems import Code, Problem

log = logging.getLogger(__name__)
SCAN = "node.session.scan"
SESSIONS = "node.session.nr_sessions"
REOPENED = "node.session.reopen_max"
LEADING = "node.leading_login"
LATER = (SESSIONS, REOPENED, LEADING)
"""Keys that an older open-iscsi does not have: it then does what we write there, and knows nothing else."""
AUTH = "node.session.auth."
END = "# END RECORD"
HELD_S = 2.0
"""For longer than this nobody holds the lock: it is taken for one record (usr/idbm.c, libopeniscsiusr/idbm.c)."""
LIBRARY = "libopeniscsiusr"


@dataclass(frozen=True, slots=True)
class Broken:
    """A record that nobody can use and that makes commands of iscsiadm fail, whoever made it. `portal` None: none."""

    target: str
    portal: str | None
    path: Path
    why: str


# Where it is, and what is in it.


def nodes(roots: Roots) -> Path | None:
    """The directory of all records: where it is depends on the distribution."""
    return next((path for path in (roots.etc / "iscsi/nodes", roots.lib / "iscsi/nodes") if path.is_dir()), None)


def iface_file(roots: Roots, name: str) -> Path | None:
    """The file of an interface: beside the records, else wherever a distribution has it."""
    top = nodes(roots)
    places = [*([top.parent] if top else []), roots.etc / "iscsi", roots.lib / "iscsi"]
    return next((path for place in places if (path := place / "ifaces" / name).is_file()), None)


def portals(roots: Roots, target: str) -> tuple[str, ...]:
    """The portals of a target that have a record, in canonical form. Records for host names are left out."""
    found = (portal_of(path.name) for path in _entries(roots, target))
    return tuple(dict.fromkeys(portal for portal in found if portal))


def files(roots: Roots, target: str, portal: str) -> list[Path]:
    """The files of the records of a target at a portal: one for each interface."""
    found = []
    for entry in _at(roots, target, portal):
        found += [entry / name for name in sysfs.entries(entry)] if entry.is_dir() else [entry]
    return found


def is_discovered(roots: Roots, target: str, portal: str) -> bool:
    """Whether a discovery has made a record of it, in place of one made by hand or beside it."""
    return any(entry.is_dir() for entry in _at(roots, target, portal))


def portal_of(name: str) -> str | None:
    """`10.0.0.1,3260,1`, `fd00::1,3260`: the directory of one portal, or its file where the record has no tpgt."""
    match = re.fullmatch(r"\[?([0-9A-Fa-f.:]+)\]?,(\d{1,5})(?:,-?\d+)?", name)
    try:
        return checks.portal(f"[{match.group(1)}]:{match.group(2)}") if match else None
    except Problem:
        return None


def flaw(roots: Roots, target: str, portal: str) -> str:
    """Why no login is to be made with a record as it is; empty where it is as ours are, or not there at all."""
    found = [settings(file) for file in files(roots, target, portal)]
    if found and any(entry.name.startswith(",") for entry in _entries(roots, target)):
        return "beside it is one without an address"
    if any(not values for values in found):
        return "it is empty"
    if any(values.get(SCAN) != "manual" for values in found):
        return f"a login with it has every LUN of the target looked for ({SCAN} is not manual)"
    if any(values.get(SESSIONS, "1") != "1" for values in found):
        return f"a login with it makes more sessions than one ({SESSIONS} is not 1)"
    return ""


def is_older(roots: Roots, target: str, portal: str, than: float) -> bool:
    """Whether a record was written before that moment (seconds since the epoch)."""
    try:
        return any(file.stat().st_mtime < than for file in files(roots, target, portal))
    except FileNotFoundError:  # it is gone again
        return False


def settings(file: Path) -> dict[str, str]:
    """The keys of a record and their values; none where it cannot be read."""
    pairs = (line.partition("=") for line in (sysfs.text(file) or "").splitlines() if not line.startswith("#"))
    return {key.strip(): value.strip() for key, sign, value in pairs if sign}


def broken(roots: Roots) -> list[Broken]:
    """The records of the whole database that nobody can use (attach.md, case 27: a full disk, a killed iscsiadm)."""
    top = nodes(roots)
    found = []
    for target in sysfs.entries(top) if top else []:
        for entry in _entries(roots, target):
            inside = [entry / name for name in sysfs.entries(entry)] if entry.is_dir() else [entry]
            portal = portal_of(entry.name)
            if entry.name.startswith(","):
                found.append(Broken(target, None, entry, "has no address"))
            elif not inside:
                found.append(Broken(target, portal, entry, "has no file in it"))
            found += [Broken(target, portal, file, "is empty") for file in inside if portal and not file.stat().st_size]
    return found


def _entries(roots: Roots, target: str) -> list[Path]:
    top = nodes(roots)
    return [top / target / name for name in sysfs.entries(top / target)] if top else []


def _at(roots: Roots, target: str, portal: str) -> list[Path]:
    return [path for path in _entries(roots, target) if portal_of(path.name) == portal]


# Its lock: a hard link (usr/idbm.c idbm_lock).


def lock(roots: Roots) -> bool:
    """Take the lock of the database, if it is free; whether it is ours now."""
    directory = roots.run / "lock/iscsi"
    directory.mkdir(mode=0o770, parents=True, exist_ok=True)
    (directory / "lock").touch(mode=0o600)
    try:
        os.link(directory / "lock", directory / "lock.write")
    except FileExistsError:
        return False
    return True


@contextmanager
def unlocking(roots: Roots) -> Iterator[None]:
    """Give the lock back at the end."""
    try:
        yield
    finally:
        (roots.run / "lock/iscsi/lock.write").unlink(missing_ok=True)


def clear_stale_lock(roots: Roots) -> bool:
    """Remove the lock that a killed iscsiadm left behind; whether there was one.

    Only one that is older than it is ever held for, while no process runs that could hold it (attach.md, case 88):
    it is the same lock before and after the look at the processes, so that its owner, if alive, was there to be seen,
    and nobody else can have taken it.
    """
    link = roots.run / "lock/iscsi/lock.write"
    taken = _taken(link)
    if taken is None or not _is_old(taken) or _may_be_held(roots) or _taken(link) != taken:
        return False
    link.unlink(missing_ok=True)
    log.warning("removed the stale lock %s: an iscsiadm had been killed", link)
    return True


def _is_old(taken: int) -> bool:
    """Whether it is older than that. One of the future is not: the clock was set back."""
    return time.time_ns() - taken > HELD_S * 1e9


def is_just_taken(roots: Roots) -> bool:
    """Whether somebody has taken the lock a moment ago: it is not known yet whether it will be let go."""
    taken = _taken(roots.run / "lock/iscsi/lock.write")
    return taken is not None and not _is_old(taken)


def _may_be_held(roots: Roots) -> bool:
    """Whether any process may hold it: an iscsiadm by whatever name, one that uses libopeniscsiusr, as udisks does, or
    one that cannot be looked into.
    """
    return any(_works_on_it(roots.proc / name) for name in sysfs.entries(roots.proc) if name.isdigit())


def _works_on_it(process: Path) -> bool:
    program = sysfs.link(process / "exe") or ""
    if sysfs.text(process / "comm") == "iscsiadm" or Path(program.removesuffix(" (deleted)")).name == "iscsiadm":
        return True
    try:
        return LIBRARY in (process / "maps").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False  # it has ended
    except OSError:
        return True


def _taken(link: Path) -> int | None:
    """When the lock was taken (ns; a link changes the time of its inode); None while it is free."""
    try:
        return link.stat().st_ctime_ns
    except FileNotFoundError:
        return None


# Changes, to be made under the lock.


def write(roots: Roots, target: str, portal: str, values: Mapping[str, str], *, auth: bool) -> None:
    """Set keys of a record; with `auth`, how to log in is wholly what `values` say. Secrets are not seen by anybody.

    Raises `Problem` when there is no record, or when it does not know a key: an unknown one would make the whole
    database unreadable to iscsiadm (attach.md, case 28).
    """
    found = files(roots, target, portal)
    if not found:
        text = f"there is no record of {target} at {portal} any more"
        raise Problem(Code.UNAVAILABLE, text, hint="somebody has removed it: try again")
    for file in found:
        _replace(roots, file, _with(file, values, auth=auth))


def _with(file: Path, values: Mapping[str, str], *, auth: bool) -> str:
    left, lines = dict(values), []
    for line in (sysfs.text(file) or "").splitlines():
        key = line.partition("=")[0].strip()
        if key in left:
            lines.append(f"{key} = {left.pop(key)}")
        elif not (auth and key.startswith((f"{AUTH}username", f"{AUTH}password"))):
            lines.append(line)
    left = {key: value for key, value in left.items() if key not in LATER}
    unknown = [key for key in left if not key.startswith(AUTH)]
    if unknown or END not in lines:
        text = f"the record {file} has no {unknown[0] if unknown else 'end'}: this open-iscsi is not known to us"
        raise Problem(Code.UNSUPPORTED_ON_HOST, text, hint="install open-iscsi 2.0.874 or newer")
    lines[lines.index(END) : lines.index(END)] = [f"{key} = {value}" for key, value in left.items()]
    return "\n".join(lines) + "\n"


def _replace(roots: Roots, file: Path, text: str) -> None:
    """Put a new content into a record at once; for root alone. The new file is begun where nobody takes it for one."""
    top = nodes(roots)
    assert top is not None
    new = top.resolve().parent / ".cdmi-attach.new"
    new.unlink(missing_ok=True)
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w") as stream:
            stream.write(text)
        new.replace(file)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def remove(roots: Roots, target: str, portal: str) -> bool:
    """Remove a record made by hand; whether none is left. A discovered one has links elsewhere: that is iscsiadm's.

    What has no address in that target's directory goes with it: nobody can use it.
    """
    for entry in _at(roots, target, portal):
        if not entry.is_dir():
            entry.unlink(missing_ok=True)
    for entry in [path for path in _entries(roots, target) if path.name.startswith(",")]:
        _remove_broken(entry)
    return _swept(roots, target, portal)


def drop_broken(roots: Roots, target: str, portal: str, *, only_empty: bool = False) -> None:
    """Remove what an iscsiadm that was killed left of a record, and iscsiadm itself takes for none (attach.md, 27).

    It empties the file (or makes it) before it writes, and removes the file before its directory. `only_empty` leaves
    alone what has anything in it.
    """
    for entry in [*_at(roots, target, portal), *(p for p in _entries(roots, target) if p.name.startswith(","))]:
        inside = list(entry.iterdir()) if entry.is_dir() else [entry]
        if only_empty and any(file.stat().st_size for file in inside):
            continue
        _remove_broken(entry)
    _swept(roots, target, portal)


def _remove_broken(entry: Path) -> None:
    for file in entry.iterdir() if entry.is_dir() else [entry]:
        file.unlink(missing_ok=True)
    if entry.is_dir():
        entry.rmdir()
    log.warning("removed %s: a record that nobody can use, of an iscsiadm that was killed", entry)


def report_broken(roots: Roots) -> None:
    """Tell the log of every record that nobody can use: iscsiadm ends with 6 for it, whatever it is asked."""
    try:
        found = broken(roots)
    except OSError as error:
        log.warning("iscsid's database cannot be read: %s", error)
        return
    for one in found:
        log.warning("%s %s: a record that nobody can use; see: cdmi-attach doctor node-records", one.path, one.why)


def _swept(roots: Roots, target: str, portal: str) -> bool:
    """Remove the target's directory where it is empty; whether it has no record of the portal any more."""
    top = nodes(roots)
    if top and (top / target).is_dir() and not sysfs.entries(top / target):
        (top / target).rmdir()
    return not _at(roots, target, portal)
