"""iscsiadm, for what only it can do: a new record, login, logout. One process each, never killed.

Killed, iscsiadm leaves its lock behind (usr/idbm.c idbm_lock), which makes every later command wait 30 s or fail for
good, while iscsid still finishes the login. So a command that outlives its deadline is left to end, and is watched.

A login reads the records of all targets before it begins (usr/idbm.c idbm_for_each_rec), and ends with 6 when one goes
away under its hands. So none of ours is removed while a login reads, and a login waits for a removal; but no removal
waits for a login to come to its end, which may take as long as a dead portal does.
"""

import asyncio
import hashlib
import logging
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from agent.host import node_db, sysfs
from agent.host.modules import loadable
from agent.host.roots import Roots
from agent.workers.pool import Abandoned
from attachers.problems import Code, Problem

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
OUTPUT_BYTES = 4096
SETTINGS = {
    "node.startup": "manual",
    "node.session.scan": "manual",
    "node.conn[0].timeo.login_timeout": "10",
    "node.session.initial_login_retry_max": "1",
    node_db.SESSIONS: "1",
    node_db.REOPENED: "0",
    node_db.LEADING: "No",
}
WITHOUT_FILE = ("", "default", "iser")
"""The interfaces that open-iscsi has by itself."""
_WORD = re.compile(r"[!-~]{1,223}", re.ASCII)
TICK_S = 0.01  # how often the lock is tried for, as iscsiadm does; nothing tells that it was let go
# Exit codes of include/iscsi_err.h.
SUCCESS, NOT_FOUND, DATABASE, INVALID, INTERNAL, EXISTS = 0, 2, 6, 7, 9, 15
NOTHING_FOUND, AUTHENTICATION, BUSY, AGAIN, NOT_CONNECTED = 21, 24, 28, 29, 32
_ISCSID_HINT = "start iscsid on this host: systemctl start iscsid.socket iscsid.service"
_DATABASE_HINT = "see which record it is: cdmi-attach doctor node-records"
_PROBLEMS: dict[int, tuple[Code, str, str]] = {
    NOT_FOUND: (Code.TARGET_TIMEOUT, "iscsid does not know the session", "see iscsid's log; it is tried again"),
    4: (Code.TARGET_TIMEOUT, "the portal cannot be connected", "see that the portal answers from this host"),
    5: (Code.TARGET_REFUSED, "the target ended the login", "see the target's log"),
    DATABASE: (Code.UNAVAILABLE, "iscsid's database failed", _DATABASE_HINT),
    INVALID: (Code.UNAVAILABLE, "iscsid's database has a record that it cannot read", _DATABASE_HINT),
    8: (Code.TARGET_TIMEOUT, "the portal does not answer", "see that it can be reached from this host"),
    INTERNAL: (Code.TARGET_TIMEOUT, "iscsid is not ready for that", "see iscsid's log; it is tried again"),
    10: (Code.TARGET_TIMEOUT, "the target did not let the session go", "see iscsid's log; it is tried again"),
    11: (Code.TARGET_TIMEOUT, "the target does not answer", "see the target's load and log"),
    12: (Code.UNSUPPORTED_ON_HOST, "the module iscsi_tcp is missing", "modprobe iscsi_tcp"),
    13: (Code.UNAVAILABLE, "iscsid refused", "the helper has to run as root"),
    18: (Code.UNAVAILABLE, "iscsid does not answer", _ISCSID_HINT),
    19: (Code.TARGET_REFUSED, "the target refused the login", "see the target's name, ACL and permissions"),
    20: (Code.UNAVAILABLE, "iscsid is not running", _ISCSID_HINT),
    NOTHING_FOUND: (
        Code.UNAVAILABLE,
        "iscsid's database has no such record any more",
        "somebody removed it: try again",
    ),
    AUTHENTICATION: (
        Code.TARGET_REFUSED,
        "the target refused this host's initiator name or CHAP secret",
        "see the target's ACL, and chap of its [[server]]",
    ),
    BUSY: (Code.IN_USE, "iscsid says that a disk of the session is in use", "see what is mounted from it"),
    AGAIN: (Code.UNAVAILABLE, "iscsid is busy", "try again"),
    NOT_CONNECTED: (Code.TARGET_TIMEOUT, "the session has no connection", "see iscsid's log; it is tried again"),
    33: (Code.TARGET_TIMEOUT, "the target did not answer in time", "see that it can be reached from this host"),
}
_INITIATOR = re.compile(r"initiator reported error \((\d+) - ")

log = logging.getLogger(__name__)


class Use(Enum):
    """What a command does with the database: READS all of it at its beginning; WRITES or REMOVES a record."""

    NOTHING = auto()
    READS = auto()
    WRITES = auto()
    REMOVES = auto()


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended: its exit code and the beginning of what it printed."""

    code: int
    output: str


def number_of(result: Result) -> int:
    """What became of the very thing that was asked for.

    iscsiadm ends with the first error that it met: where that is some record's (6), what iscsid said of the login
    itself is in its output (usr/session_mgmt.c log_login_msg).
    """
    said = _INITIATOR.search(result.output) if result.code in (DATABASE, INVALID) else None
    return int(said.group(1)) if said else result.code


def refusal(result: Result, what: str) -> Problem:
    """The problem that an exit code stands for."""
    number = number_of(result)
    code, text, hint = _PROBLEMS.get(number, (Code.TARGET_REFUSED, f"iscsiadm ended with {number}", ""))
    shown = ascii(_complaint(result.output)) if result.output.strip() else "no output"
    return Problem(
        code, f"{what}: {text} (exit code {result.code}: {shown})", hint=hint, step=what, final=number == AUTHENTICATION
    )


def _complaint(output: str) -> str:
    """The first line of an error, without the program's name; best one that names a file; else the last line."""
    lines = output.strip().splitlines()
    named = [line for line in lines if line.startswith("iSCSI ERROR: config file ")]
    found = next((line for line in [*named, *lines] if line.startswith(("iscsiadm: ", "iSCSI ERROR: "))), lines[-1])
    return found.removeprefix("iscsiadm: ").removeprefix("iSCSI ERROR: ").partition(" # ")[0].strip()[:200]


class Iscsiadm:
    """Runs iscsiadm: commands that write to its database one at a time, logins and logouts side by side."""

    def __init__(self, roots: Roots, *, path: str = PATH) -> None:
        self._roots = roots
        self._path = path
        self._database = asyncio.Lock()
        self._readers: set[int] = set()
        self._removals = 0
        self._no_removal = asyncio.Event()
        self._no_removal.set()

    async def run(self, arguments: list[str], what: str, *, timeout_s: float, use: Use = Use.NOTHING) -> Result:
        """Run one command to its end; `use` is what it does with the database.

        Raises `Abandoned` when `timeout_s` ran out: the command goes on, and a writer keeps the others out until it
        has ended. Raises `Problem` when there is no iscsiadm, or when it could not begin in time.
        """
        begun = asyncio.Event()
        task = asyncio.create_task(self._run(arguments, begun, use))
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
        with suppress(asyncio.CancelledError):
            await task
        raise _in_use(what, timeout_s)

    async def _run(self, arguments: list[str], begun: asyncio.Event, use: Use) -> Result:
        command = ["iscsiadm", *arguments]
        match use:
            case Use.NOTHING:
                begun.set()
                return await _spawn(command, self._path, set())
            case Use.READS:
                while self._removals:
                    await self._no_removal.wait()
                begun.set()
                return await _spawn(command, self._path, self._readers)
            case Use.WRITES | Use.REMOVES:
                async with self._writing(use):
                    begun.set()
                    return await _spawn(command, self._path, set())

    @asynccontextmanager
    async def database(self, what: str, use: Use, *, timeout_s: float) -> AsyncIterator[None]:
        """Hold the database's own lock: briefly, and without waiting for anything inside.

        Raises `Problem` (`busy`) when it was not to be had in `timeout_s`.
        """
        try:
            async with asyncio.timeout(timeout_s), self._writing(use):
                while not node_db.lock(self._roots):
                    await _tick()
                with node_db.unlocking(self._roots):
                    yield
        except TimeoutError:
            raise _in_use(what, timeout_s) from None

    @asynccontextmanager
    async def _writing(self, use: Use) -> AsyncIterator[None]:
        """Be the only writer of ours; to remove something, also while no login of ours reads."""
        async with self._no_new_readers() if use is Use.REMOVES else nullcontext(), self._database:
            while use is Use.REMOVES and self._is_read():
                await _tick()
            until = asyncio.get_running_loop().time() + node_db.HELD_S
            while node_db.is_just_taken(self._roots) and asyncio.get_running_loop().time() < until:
                await _tick()
            node_db.clear_stale_lock(self._roots)
            yield

    @asynccontextmanager
    async def _no_new_readers(self) -> AsyncIterator[None]:
        self._removals += 1
        self._no_removal.clear()
        try:
            yield
        finally:
            self._removals -= 1
            if not self._removals:
                self._no_removal.set()

    def _is_read(self) -> bool:
        """Whether a login of ours has still to read the database: it has not asked iscsid for anything yet."""
        self._readers -= {pid for pid in self._readers if _has_socket(self._roots, pid)}
        return bool(self._readers)


def _has_socket(roots: Roots, pid: int) -> bool:
    """Whether a process has a socket open. One that has ended does not read any more either."""
    folder = roots.proc / str(pid) / "fd"
    found = []
    for name in sysfs.entries(folder):
        with suppress(OSError):
            found.append(str((folder / name).readlink()))
    return not found or any(link.startswith("socket:") for link in found)


def _in_use(what: str, timeout_s: float) -> Problem:
    return Problem(Code.BUSY, f"{what}: iscsid's database was in use for {timeout_s:g} s", step=what)


async def _tick() -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(TICK_S):
            await asyncio.Event().wait()


async def _spawn(command: list[str], path: str, pids: set[int]) -> Result:
    """Start a program and wait for its end. Its output goes to memory: a pipe would kill it when the helper dies.

    It is in `pids` while it runs.
    """
    output = os.memfd_create("iscsiadm")
    try:
        process = _start(command, path, output)
        pids.add(process.pid)
        try:
            await _end_of(process.pid)
        finally:
            pids.discard(process.pid)
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


def installed() -> float:
    """When the open-iscsi of today came to this host (seconds since the epoch); 0 where there is none."""
    program = shutil.which("iscsiadm", path=PATH)
    return Path(program).stat().st_ctime if program else 0.0


def unfinished(roots: Roots, target: str, portal: str) -> Path:
    """The file that says: this record was begun, and does not have our settings yet. A name has 255 bytes at most."""
    return roots.unfinished / hashlib.sha256(f"{target}@{portal}".encode()).hexdigest()


def missing(roots: Roots) -> str:
    """Why iSCSI cannot be used on this host; empty when it can. Starts no process."""
    if shutil.which("iscsiadm", path=PATH) is None:
        return "there is no iscsiadm: install open-iscsi"
    if not (roots.sys / "module/iscsi_tcp").exists() and not loadable(roots, "iscsi_tcp"):
        return "the kernel has no module iscsi_tcp"
    if "@ISCSIADM_ABSTRACT_NAMESPACE" not in (sysfs.text(roots.proc / "net/unix") or ""):
        return f"iscsid does not listen: {_ISCSID_HINT}"
    return ""


def initiator_name(roots: Roots, iface: str = "") -> str:
    """The name that a login by that interface says, or empty: its own, else this host's (usr/initiator.c)."""
    return _iface_name(roots, iface) or _own_name(roots)


def _own_name(roots: Roots) -> str:
    """This host's name: initiatorname.iscsi, written by the distribution."""
    content = sysfs.text(roots.etc / "iscsi/initiatorname.iscsi") or ""
    match = re.search(r"^\s*InitiatorName\s*=\s*(\S+)", content, re.MULTILINE)
    return match.group(1) if match else ""


def _iface_name(roots: Roots, iface: str) -> str:
    """The name of an interface's own, or empty. What is no single word is no name: no target lets it in.

    Of the interfaces that open-iscsi has by itself no file is read (usr/iface.c iface_conf_read).
    """
    file = None if iface in WITHOUT_FILE else node_db.iface_file(roots, iface)
    name = node_db.settings(file).get("iface.initiatorname", "") if file else ""
    return name if _WORD.fullmatch(name) and name != "<empty>" else ""
