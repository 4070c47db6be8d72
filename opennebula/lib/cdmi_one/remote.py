"""One script for the shell of a host, by ssh as OpenNebula's own drivers use it; or on the front-end itself.

The whole script stands in a function, so that nothing of it is done before all of it has arrived, and nothing that it
runs reads the rest of it. How long anything may take is the daemon's to say; the limit here is for a host that is gone.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Sequence
from typing import IO

from cdmi_one.failure import Failure, one_line

FAILED, NOT_FOUND, CONFLICT, TIMEOUT, MISSING, UNREACHABLE = 1, 4, 5, 6, 127, 255
"""Exit statuses: those of cdmi-attach (see its manual page), the shell's, and ssh's."""
QUICK_S = 600.0
"""What the daemon may take for an attach or a detach, and more."""
LONG_S = 4 * 3600.0
"""What a server may take for a copy."""
PIECE = 1 << 20
HERE = ""
"""The front-end itself, in the place of a host."""


class RemoteFailure(Failure):
    """The script ended with another status than 0: the status, and what was printed until then."""

    def __init__(self, status: int, detail: str, remedy: str, printed: str = "") -> None:
        super().__init__(detail, remedy)
        self.status = status
        self.printed = printed


def run(host: str, lines: Sequence[str], *, limit_s: float = QUICK_S) -> str:
    """Run these lines, up to the first that fails. Returns what they print. Raises `RemoteFailure`."""
    command, where = _shell(host), host or "the front-end"
    with unpiped() as said:
        try:
            done = subprocess.run(
                command,
                input=_script(lines),
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                errors="replace",  # of another host, in whatever language
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            what = f"{where} has not answered within {limit_s:g} s"
            raise RemoteFailure(TIMEOUT, what, "see cdmi-attach status there, and retry") from None
        except OSError as error:
            raise RemoteFailure(UNREACHABLE, f"{command[0]} cannot be run: {error}", "install it") from None
        if done.returncode:
            raise _failure(where, done, said)
        return done.stdout


def stream(host: str, lines: Sequence[str], take: Callable[[bytes], None]) -> None:
    """Run these lines, and give what they print away piece by piece, as long as it comes. Raises `RemoteFailure`."""
    command, where = _shell(host), host or "the front-end"
    with unpiped() as said:
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said)
        except OSError as error:
            raise RemoteFailure(UNREACHABLE, f"{command[0]} cannot be run: {error}", "install it") from None
        with process:
            assert process.stdin and process.stdout
            try:
                process.stdin.write(_script(lines).encode())
                process.stdin.close()
                while piece := os.read(process.stdout.fileno(), PIECE):
                    take(piece)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise _failure(where, subprocess.CompletedProcess(command, process.returncode, ""), said)


def unpiped() -> IO[str]:
    """Where standard error goes: no pipe, since what ssh leaves behind of a kept connection may hold it open."""
    return os.fdopen(os.memfd_create("said"), "w+", errors="replace")


def _shell(host: str) -> list[str]:
    return ["sh", "-s"] if host == HERE else [*command_at(host), "sh", "-s"]


def _script(lines: Sequence[str]) -> str:
    return "\n".join(["main() {", "set -e", *lines, "}", "main </dev/null", ""])


def command_at(host: str) -> list[str]:
    """What runs a line, given as its last word, in the shell of a host."""
    return ["sh", "-c"] if host == HERE else [*shlex.split(os.environ.get("SSH", "ssh")), host]


def _failure(where: str, done: subprocess.CompletedProcess[str], stderr: IO[str]) -> RemoteFailure:
    stderr.seek(0)
    last = next((line for line in reversed(stderr.read().splitlines()) if line.strip()), "")
    said = one_line(last).removeprefix("cdmi-attach: ")
    status, printed = done.returncode, done.stdout
    if status == UNREACHABLE:
        detail = f"{where} cannot be reached by ssh{f' ({said})' if said else ''}"
        return RemoteFailure(status, detail, "see to it that oneadmin can log in there, and retry", printed)
    if status == MISSING:
        return RemoteFailure(status, f"{where}: cdmi-attach is not there", "install cdmi-attach there, and retry")
    return RemoteFailure(status, f"{where}: {said or f'the script ended with status {status}'}", "", printed)
