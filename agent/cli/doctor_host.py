"""What the doctor looks at: a host as directories and commands, so that a test can put its own in their place."""

import os
import pwd
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

COMMAND_S = 20.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NOT_FOUND, TOO_LATE = 127, 124
CONFIG = "/etc/cdmi-attach/config.toml"
UNITS = (
    "iscsid.socket",
    "iscsid.service",
    "multipathd.service",
    "libvirtd.socket",
    "virtqemud.socket",
    "cdmi-attachd.socket",
    "cdmi-attachd.service",
    "cdmi-attach-helperd.socket",
    "cdmi-attach-helperd.service",
)


class Level(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    UNCHECKED = "unchecked"


@dataclass(frozen=True)
class Finding:
    """What a check found, what that means for an attach, and the shell line that mends it."""

    level: Level
    says: str
    means: str = ""
    mend: str = ""


def ok(says: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, says)


def warning(says: str, means: str, mend: str) -> Finding:
    """An attach works, for now or mostly."""
    return Finding(Level.WARNING, says, means, mend)


def failure(says: str, means: str, mend: str) -> Finding:
    """An attach will fail."""
    return Finding(Level.FAILURE, says, means, mend)


def unchecked(says: str, mend: str = "sudo cdmi-attach doctor") -> Finding:
    """It cannot be known from here: mostly, since the caller is not root."""
    return Finding(Level.UNCHECKED, says, "", mend)


@dataclass(frozen=True)
class Done:
    """A command that has ended: its status (127 not there, 124 still not ended), and what it wrote."""

    status: int
    out: str = ""
    err: str = ""


@dataclass(frozen=True)
class Unit:
    """A unit, as systemctl shows it."""

    load: str = "not-found"
    active: str = "inactive"
    file: str = ""


Runner = Callable[[Sequence[str]], Done]


@dataclass(frozen=True)
class Host:
    """A host: its files below `root`, its commands by `run`, and what only the kernel or the network can tell.

    `dial` connects to a URL (with a file of certificates to trust, or empty) and returns what is wrong, empty when
    nothing is. `ask` is GET on the daemon's socket; it raises `Failure`. `free` is the number of free bytes at a path,
    `owner` the name of a user.
    """

    root: Path
    run: Runner
    dial: Callable[[str, str], str]
    ask: Callable[[str], dict[str, Any]]
    free: Callable[[Path], int]
    owner: Callable[[int], str]
    now_s: float
    uid: int
    user: str
    groups: frozenset[int]

    def path(self, name: str) -> Path:
        """Where the absolute path `name` is."""
        return self.root / name.lstrip("/")

    def text(self, name: str) -> str | None:
        """A file's content, None when there is none. Raises PermissionError."""
        try:
            return self.path(name).read_text(errors="replace")
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
            return None

    @cached_property
    def units(self) -> dict[str, Unit] | None:
        """Every unit that matters, None where systemd does not answer."""
        properties = "--property=Id,LoadState,ActiveState,UnitFileState"
        done = self.run(["systemctl", "show", properties, "--", *UNITS])
        if done.status != 0:
            return None
        found = {}
        for name, block in zip(UNITS, done.out.strip().split("\n\n"), strict=False):
            values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            found[name] = Unit(
                values.get("LoadState", ""), values.get("ActiveState", ""), values.get("UnitFileState", "")
            )
        return found

    @cached_property
    def checked_config(self) -> Done:
        """The daemon's own check of its configuration; `out` is the effective configuration where it is valid."""
        return self.run(["cdmi-attachd", "--check-config", "--show-config"])

    @cached_property
    def config(self) -> dict[str, Any] | None:
        """The effective configuration, None where there is no valid one."""
        if self.checked_config.status != 0:
            return None
        try:
            return tomllib.loads(self.checked_config.out)
        except tomllib.TOMLDecodeError:
            return None


def this_host(socket: str) -> Host:
    """The host that this runs on, and the daemon at `socket`."""
    from agent.cli import client

    return Host(
        root=Path("/"),
        run=run_command,
        dial=dial,
        ask=lambda route: client.call(socket, "GET", route, timeout_s=client.GRACE_S),
        free=_free,
        owner=_owner,
        now_s=time.time(),
        uid=os.geteuid(),
        user=_owner(os.getuid()),
        groups=frozenset({*os.getgroups(), os.getegid()}),
    )


def run_command(argv: Sequence[str]) -> Done:
    """Run a command of the system with nothing on its stdin; one that does not end in time is ended."""
    import subprocess

    environ = {"PATH": PATH, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"}
    try:
        done = subprocess.run(
            list(argv), env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=COMMAND_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Done(TOO_LATE, "", f"{argv[0]} did not end within {COMMAND_S:.0f} s")
    except OSError as error:
        return Done(NOT_FOUND, "", f"{argv[0]}: {error.strerror}")
    return Done(done.returncode, done.stdout, done.stderr)


def dial(url: str, ca_file: str) -> str:
    """TCP, and TLS with the certificate checked, to the server of a URL. Returns what is wrong, or nothing."""
    import socket
    import ssl
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((host, port), timeout=5) as plain:
            if parts.scheme == "https":
                context = ssl.create_default_context(cafile=ca_file or None)
                context.wrap_socket(plain, server_hostname=host).close()
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not trusted: {error.verify_message}"
    except TimeoutError:
        return "it does not answer within 5 s"
    except OSError as error:
        return (os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)).lower()
    return ""


def _free(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def _owner(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
