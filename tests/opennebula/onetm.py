"""What one_tm.rb and one_datastore.rb do with a driver's scripts, by the contract: lines, stdin, environment, errors.

Written from the contract and not from OpenNebula's code. What a release of 7.x does with standard error is done here.
"""

import asyncio
import os
import re
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LOG_LINE = re.compile(r"^(ERROR|INFO|WARN|DEBUG):\s+(\d+)?\s*(.*)$")
AT_ONCE = 15
UNREADABLE = "invalid byte sequence in US-ASCII"


@dataclass(frozen=True)
class Done:
    """How a script, or a transfer file, has ended: the error as oned's user sees it, and the lines for VMs' logs.

    `plain` are the lines of standard error that make up the error.
    """

    status: int
    error: str = ""
    printed: str = ""
    log: tuple[tuple[int, str], ...] = ()
    plain: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.status == 0


@dataclass
class Drivers:
    """`/var/lib/one/remotes`, and what its scripts are run with."""

    remotes: Path
    home: Path
    path: str
    tms: Sequence[str] = ("cdmi", "shared", "ssh")
    more: Mapping[str, str] = field(default_factory=dict)
    within_s: float = 60
    """How long the runner waits for a script; oned waits for ever."""
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def transfer(self, lines: Sequence[str], stdin: str = "") -> Done:
        """A transfer file: up to the first line that fails, without any roll-back."""
        log: list[tuple[int, str]] = []
        for line in lines:
            words = line.split(" ")
            if not line.strip() or line.startswith("#"):
                continue
            done = await self.tm(words[1], words[0].lower(), [word for word in words[2:] if word], stdin)
            log += done.log
            if not done.ok:
                error = f"Error executing image transfer script: {done.error}"
                return Done(done.status, error, done.printed, tuple(log), done.plain)
        return Done(0, log=tuple(log))

    async def tm(self, tm: str, action: str, words: Sequence[str], stdin: str = "") -> Done:
        """One script of a transfer driver; `ln.shared` is `ln` where there is none of the longer name."""
        if tm not in self.tms:
            return Done(1, f"Transfer Driver '{tm}' not available")
        script = self.remotes / "tm" / tm / action
        if not self.has(script):
            script = script.with_name(action.rpartition(".")[0] or action)
        async with self._slots:
            return await self._end_of(await self.start(script, words), stdin)

    async def datastore(self, ds: str, action: str, number: int, message: str, *, old: bool = False) -> Done:
        """One script of a datastore driver: since 6.8 the message is its standard input, before it was an argument."""
        script = self.remotes / "datastore" / ds / action
        words = [message, str(number)] if old else [str(number)]
        return await self._end_of(await self.start(script, words), "" if old else message)

    async def hook(self, script: Path, words: str) -> Done:
        """A hook with ARGUMENTS_STDIN."""
        return await self._end_of(await self.start(script, []), words)

    def has(self, script: Path) -> bool:
        """Whether the front-end has that script."""
        return script.exists()

    def write(self, path: Path, text: str) -> None:
        """Put a file on the front-end."""
        path.write_text(text, encoding="utf-8")

    @property
    def environ(self) -> dict[str, str]:
        """oned's environment: HOME, PATH, LANG, and not much more."""
        return {"HOME": str(self.home), "PATH": self.path, "LANG": "C", **self.more}

    async def close(self) -> None:
        """The end of the site."""

    async def start(self, script: Path, words: Sequence[str]) -> Process:
        """A script as a process."""
        return await asyncio.create_subprocess_exec(
            script, *words, cwd=self.home, env=self.environ, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )

    def given_up(self, tm: str, action: str, words: Sequence[str], stdin: str = "") -> asyncio.Task[Done]:
        """A script that oned has cancelled (DRIVER_CANCEL): nobody waits for it any more, and it goes on."""

        async def goes_on() -> Done:
            return await self._end_of(await self.start(self.remotes / "tm" / tm / action, words), stdin)

        return asyncio.create_task(goes_on(), name=f"{tm}/{action}, given up")

    async def _end_of(self, process: Process, stdin: str) -> Done:
        async with asyncio.timeout(self.within_s):
            out, err = await process.communicate(stdin.encode())
        assert process.returncode is not None
        if (
            not err.isascii()
        ):  # in LANG=C Ruby reads no such line, and what has succeeded is told to have failed as well
            error = UNREADABLE if process.returncode == 0 else f"Internal error {UNREADABLE}"
            return Done(255, error, plain=(error,))
        lines = [line.strip() for line in err.decode().splitlines()]
        found = [(LOG_LINE.match(line), line) for line in lines]
        log = tuple((int(match[2] or -1), match[3]) for match, _ in found if match)
        plain = tuple(line for match, line in found if not match)
        return Done(process.returncode, "".join(plain), out.decode(), log, plain)


def own_path(*first: Path) -> str:
    """PATH with these folders before the system's own."""
    return os.pathsep.join([*map(str, first), "/usr/bin", "/bin"])
