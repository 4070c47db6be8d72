"""iscsiadm, for what only it can do: records, login, logout. One process each, never killed; and iscsid's database.

Killed, iscsiadm leaves its lock behind (usr/idbm.c idbm_lock), which makes every later command wait 30 s or fail for
good, while iscsid still finishes the login. So a command that outlives its deadline is left to end, and is watched.
"""

import asyncio
import contextlib
import hashlib
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.host import sysfs
from agent.host.roots import Roots
from agent.workers.pool import Abandoned
from attachers import checks
from attachers.problems import Code, Problem

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
OUTPUT_BYTES = 4096
SETTINGS = {
    "node.startup": "manual",
    "node.session.scan": "manual",
    "node.conn[0].timeo.login_timeout": "10",
    "node.session.initial_login_retry_max": "1",
}
# Exit codes of include/iscsi_err.h.
SUCCESS, TRANSPORT_TIMEOUT, PDU_TIMEOUT, NO_TRANSPORT, NO_ACCESS, EXISTS = 0, 8, 11, 12, 13, 15
NOT_REACHED, NOT_CONNECTED, FATAL_LOGIN, NOTHING_FOUND, AUTHENTICATION, TIMED_OUT = 18, 20, 19, 21, 24, 33
_ISCSID_HINT = "start iscsid on this host: systemctl start iscsid.socket iscsid.service"
_PROBLEMS: dict[int, tuple[Code, str, str]] = {
    4: (Code.TARGET_TIMEOUT, "the portal cannot be connected", "see that the portal answers from this host"),
    5: (Code.TARGET_REFUSED, "the target ended the login", "see the target's log"),
    6: (Code.UNAVAILABLE, "iscsid's database failed", "see /etc/iscsi/nodes and /run/lock/iscsi/lock.write"),
    7: (Code.UNAVAILABLE, "iscsid's database has a record that it cannot read", "see /etc/iscsi/nodes"),
    TRANSPORT_TIMEOUT: (Code.TARGET_TIMEOUT, "the portal does not answer", "see that it can be reached from this host"),
    PDU_TIMEOUT: (Code.TARGET_TIMEOUT, "the target does not answer", "see the target's load and log"),
    NO_TRANSPORT: (Code.UNSUPPORTED_ON_HOST, "the module iscsi_tcp is missing", "modprobe iscsi_tcp"),
    NO_ACCESS: (Code.UNAVAILABLE, "iscsid refused", "the helper has to run as root"),
    NOT_REACHED: (Code.UNAVAILABLE, "iscsid does not answer", _ISCSID_HINT),
    FATAL_LOGIN: (Code.TARGET_REFUSED, "the target refused the login", "see the target's name, ACL and permissions"),
    NOT_CONNECTED: (Code.UNAVAILABLE, "iscsid is not running", _ISCSID_HINT),
    AUTHENTICATION: (Code.TARGET_REFUSED, "the target refused this initiator", "see its ACL and CHAP settings"),
    TIMED_OUT: (Code.TARGET_TIMEOUT, "the target did not answer in time", "see that it can be reached from this host"),
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended: its exit code and the beginning of what it printed."""

    code: int
    output: str


def refusal(result: Result, what: str) -> Problem:
    """The problem that an exit code stands for."""
    code, text, hint = _PROBLEMS.get(result.code, (Code.TARGET_REFUSED, f"iscsiadm ended with {result.code}", ""))
    said = ascii(_complaint(result.output)) if result.output.strip() else "no output"
    return Problem(code, f"{what}: {text} (exit code {result.code}: {said})", hint=hint, step=what)


def _complaint(output: str) -> str:
    """The first line of an error, without the program's name; else the last line."""
    lines = output.strip().splitlines()
    found = next((line for line in lines if line.startswith("iscsiadm: ")), lines[-1])
    return found.removeprefix("iscsiadm: ")[:200]


class Iscsiadm:
    """Runs iscsiadm: commands that write to its database one at a time, logins and logouts side by side."""

    def __init__(self, roots: Roots, *, path: str = PATH) -> None:
        self._roots = roots
        self._path = path
        self._database = asyncio.Lock()

    async def run(self, arguments: list[str], what: str, *, timeout_s: float, writes: bool = False) -> Result:
        """Run one command to its end. `writes`: it changes the database.

        Raises `Abandoned` when `timeout_s` ran out: the command goes on, and a writer keeps the others out until it
        has ended. Raises `Problem` when there is no iscsiadm, or when it could not begin in time.
        """
        begun = asyncio.Event()
        task = asyncio.create_task(self._run(arguments, begun, writes=writes))
        task.add_done_callback(lambda t: None if t.cancelled() else log.debug("%s: %s", what, t.exception() or "ended"))
        try:
            await asyncio.wait({task}, timeout=timeout_s)
        except asyncio.CancelledError:
            if not begun.is_set():
                task.cancel()
            raise
        if task.done():
            return task.result()
        if begun.is_set():
            raise Abandoned(what, task)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        raise Problem(Code.BUSY, f"{what}: iscsid's database was in use for {timeout_s:g} s", step=what)

    async def _run(self, arguments: list[str], begun: asyncio.Event, *, writes: bool) -> Result:
        async with self._database if writes else contextlib.nullcontext():
            if writes:
                clear_stale_lock(self._roots)
            begun.set()
            return await _spawn(["iscsiadm", *arguments], self._path)


async def _spawn(command: list[str], path: str) -> Result:
    """Start a program and wait for its end. Its output goes to memory: a pipe would kill it when the helper dies."""
    output = os.memfd_create("iscsiadm")
    try:
        process = _start(command, path, output)
        await _end_of(process.pid)
        return Result(process.wait(), os.pread(output, OUTPUT_BYTES, 0).decode(errors="replace"))
    finally:
        os.close(output)


def _start(command: list[str], path: str, output: int) -> "subprocess.Popen[bytes]":
    program = shutil.which(command[0], path=path)
    if program is None:
        raise Problem(Code.UNSUPPORTED_ON_HOST, f"there is no {command[0]} here", hint="install open-iscsi")
    return subprocess.Popen(
        [program, *command[1:]],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        cwd="/",
        env={"PATH": PATH, "LC_ALL": "C"},
    )


async def _end_of(pid: int) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    fd = os.pidfd_open(pid)
    loop.add_reader(fd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)


# The database: a directory for each target, in it one for each portal (ip,port,tpgt), in it a file for each interface.


def _nodes(roots: Roots) -> Path:
    """Where iscsid keeps its records: it depends on the distribution."""
    return next((path for path in (roots.etc / "iscsi/nodes", roots.lib / "iscsi/nodes") if path.is_dir()), Path())


def portals(roots: Roots, target: str) -> tuple[str, ...]:
    """The portals of a target that have a record, in canonical form. Records for host names are left out."""
    nodes = _nodes(roots)
    found = (_portal(name) for name in (sysfs.entries(nodes / target) if nodes != Path() else []))
    return tuple(dict.fromkeys(portal for portal in found if portal))


def _portal(name: str) -> str | None:
    """`10.0.0.1,3260,1`, `fd00::1,3260`: the directory of one portal, or its file where the record has no tpgt.

    usr/idbm.c idbm_rec_write: a record that was made by hand (`-o new`) without a tpgt is a file without one.
    """
    match = re.fullmatch(r"\[?([0-9A-Fa-f.:]+)\]?,(\d{1,5})(?:,-?\d+)?", name)
    try:
        return checks.portal(f"[{match.group(1)}]:{match.group(2)}") if match else None
    except Problem:
        return None


def drop_broken(roots: Roots, target: str, portal: str, *, only_empty: bool = False) -> None:
    """Remove what an iscsiadm that was killed left of a record, and iscsiadm itself takes for none (attach.md, 27).

    It empties the file (or makes it) before it writes, and removes the file before its directory. `only_empty` leaves
    alone what has anything in it.
    """
    folder = _nodes(roots) / target
    for entry in [folder / name for name in sysfs.entries(folder) if _portal(name) == portal]:
        files = list(entry.iterdir()) if entry.is_dir() else [entry]
        if only_empty and any(file.stat().st_size for file in files):
            continue
        for file in files:
            file.unlink(missing_ok=True)
        if entry.is_dir():
            entry.rmdir()
        log.warning("removed a broken record of %s at %s: an iscsiadm had been killed", target, portal)
    if folder.is_dir() and not sysfs.entries(folder):
        folder.rmdir()


def clear_stale_lock(roots: Roots) -> bool:
    """Remove the lock that a killed iscsiadm left behind, when no iscsiadm runs; whether there was one."""
    lock = roots.run / "lock/iscsi/lock.write"
    if not lock.exists() or any(name == "iscsiadm" for name in _running(roots)):
        return False
    lock.unlink(missing_ok=True)
    log.warning("removed the stale lock %s: an iscsiadm had been killed", lock)
    return True


def _running(roots: Roots) -> Iterator[str]:
    for name in sysfs.entries(roots.proc):
        if name.isdigit():
            yield sysfs.text(roots.proc / name / "comm") or ""


def unfinished(roots: Roots, target: str, portal: str) -> Path:
    """The file that says: this record was begun, and does not have our settings yet. A name has 255 bytes at most."""
    return roots.unfinished / hashlib.sha256(f"{target}@{portal}".encode()).hexdigest()


def missing(roots: Roots) -> str:
    """Why iSCSI cannot be used on this host; empty when it can. Starts no process."""
    if shutil.which("iscsiadm", path=PATH) is None:
        return "there is no iscsiadm: install open-iscsi"
    if not (roots.sys / "module/iscsi_tcp").exists() and not _loadable(roots, "iscsi_tcp"):
        return "the kernel has no module iscsi_tcp"
    if "@ISCSIADM_ABSTRACT_NAMESPACE" not in (sysfs.text(roots.proc / "net/unix") or ""):
        return f"iscsid does not listen: {_ISCSID_HINT}"
    return ""


def _loadable(roots: Roots, module: str) -> bool:
    release = roots.modules / (sysfs.text(roots.proc / "sys/kernel/osrelease") or "-")
    return any(f"/{module}.ko" in (sysfs.text(release / name) or "") for name in ("modules.dep", "modules.builtin"))


def initiator_name(roots: Roots) -> str:
    """This host's iSCSI name, or empty (initiatorname.iscsi, written by the distribution)."""
    content = sysfs.text(roots.etc / "iscsi/initiatorname.iscsi") or ""
    match = re.search(r"^\s*InitiatorName\s*=\s*(\S+)", content, re.MULTILINE)
    return match.group(1) if match else ""
