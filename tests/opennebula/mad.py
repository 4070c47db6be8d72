"""A driver process of OpenNebula as oned has it: requests go in as lines, results and lines for logs come out."""

import asyncio
import itertools
import re
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.opennebula.onetm import LOG_LINE, Done

MESSAGE = re.compile(r"(?P<action>\S+) (?P<result>\S+) (?P<id>\S+) ?(?P<info>.*)", re.DOTALL)
"""include/ProtocolMessages.h; a line for a log is `LOG SEVERITY ID TEXT`."""
FAILED = re.compile(r"Command execution fail(?:ed)? \(exit code: (\d+)\): ")
FIRST_ID = 1_000_000
"""Requests are numbered from here, so that no VM in a test has the number of one."""
NOBODY = "-"
"""The number of what is about no object."""
LONGEST_LINE = 1 << 24


@dataclass
class Asked:
    """A request, and what came until it ended. `own` are the log's lines with its number, `others` those of scripts."""

    ended: asyncio.Future[tuple[bool, str]]
    own: list[str] = field(default_factory=list)
    others: list[tuple[int, str]] = field(default_factory=list)


@dataclass
class Mad:
    """A running driver. All requests may be under way at once; how many it does at once is its own to say."""

    process: Process
    asked: dict[tuple[str, str], Asked] = field(default_factory=dict)
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(FIRST_ID))
    reader: asyncio.Task[None] | None = None

    @classmethod
    async def started(cls, command: Sequence[str | Path], *, environ: Mapping[str, str], home: Path) -> Self:
        """Start it, and say INIT, as oned does."""
        process = await asyncio.create_subprocess_exec(
            *command, cwd=home, env=environ, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, limit=LONGEST_LINE
        )
        mad = cls(process)
        mad.reader = asyncio.create_task(mad._read(), name=str(command[0]))
        await mad.ask("INIT", number=NOBODY, within_s=30)
        return mad

    async def ask(self, action: str, *words: str, within_s: float, number: object = None) -> Done:
        """One request. Raises TimeoutError, and ConnectionError where the driver has ended meanwhile."""
        id = str(next(self.numbers) if number is None else number)
        asked = Asked(asyncio.get_running_loop().create_future())
        self.asked[action, id] = asked
        assert self.process.stdin
        self.process.stdin.write(" ".join((action, *([id] if id != NOBODY else []), *words)).encode() + b"\n")
        try:
            async with asyncio.timeout(within_s):
                ok, info = await asked.ended
        finally:
            self.asked.pop((action, id), None)
        return _done(asked, info, ok=ok)

    async def close(self) -> None:
        """The end of its standard input is its end."""
        assert self.process.stdin and self.reader
        self.process.stdin.close()
        await self.process.wait()
        await self.reader

    async def _read(self) -> None:
        assert self.process.stdout
        while line := (await self.process.stdout.readline()).decode(errors="replace").rstrip("\n"):
            if match := MESSAGE.fullmatch(line):
                self._take(**match.groupdict())
        for asked in self.asked.values():
            if not asked.ended.done():
                asked.ended.set_exception(ConnectionError("the driver has ended"))

    def _take(self, action: str, result: str, id: str, info: str) -> None:
        if action != "LOG":
            if (asked := self.asked.get((action, id))) and not asked.ended.done():
                asked.ended.set_result((result == "SUCCESS", "" if info == "-" else info))
            return
        for (_, number), asked in self.asked.items():
            if number == id:
                asked.own.append(info)
            elif id.lstrip("-").isdigit() and int(id) < FIRST_ID:
                asked.others.append((int(id), info))


def _done(asked: Asked, info: str, *, ok: bool) -> Done:
    """What the driver tells, as the runner's own `Done`: it logs the whole standard error of what has failed."""
    log = tuple(asked.others)
    if ok:
        return Done(0, printed=f"{info}\n" if info else "", log=log)
    failed = [(at, match[1]) for at, line in enumerate(asked.own) if (match := FAILED.match(line))]
    at, status = failed[-1] if failed else (len(asked.own), "1")
    logged = {text for number, text in log} | {f"{number} {text}" for number, text in log}
    plain = tuple(line for line in asked.own[at + 1 :] if line not in logged and not LOG_LINE.match(line))
    return Done(int(status), info, log=log, plain=plain)
