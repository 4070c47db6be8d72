"""The host behind a socket: what the daemon asks, the root helper does."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent import wire
from agent.log import attachment
from attachers.base import Uncertain
from attachers.problems import Code, Problem
from attachers.sights import BlocksQuery, Query, Sight
from attachers.steps import Step

log = logging.getLogger(__name__)
CONNECT_S = 5.0
OBSERVE_S = 30.0
READ_S = 60.0  # a part of a disk, once others have been read
GRACE_S = 5.0
"""How much longer than a step's own limit its answer may take."""
RETRY_S = 1.0
"""How often a helper that is away is looked for, while somebody waits."""
_Message = dict[str, Any]


class RemoteHost:
    """A host that is reached through the helper's socket. It connects when needed, and again when the helper is new.

    While the helper is away everything raises `Problem` (`unavailable`); a step whose answer was lost with the
    connection is `Uncertain`.
    """

    def __init__(self, socket_path: Path | str) -> None:
        self._path = Path(socket_path)
        self._link: _Link | None = None
        self._connecting = asyncio.Lock()
        self._changes = 0
        self._alarms = 0
        self._told: int | None = None
        self._news = asyncio.Event()

    async def observe(self, query: Query) -> Sight:
        link, limit_s = await self._connected(), READ_S if isinstance(query, BlocksQuery) else OBSERVE_S
        try:
            message = await link.ask("observe", wire.encode(query), timeout_s=limit_s, limit_s=limit_s)
        except TimeoutError:
            raise _away(f"did not answer within {limit_s:g} s") from None
        except OSError as error:
            raise _away(f"hung up: {error}") from None
        return wire.decode_sight(_value(message, "observe"))

    async def act(self, step: Step, *, timeout_s: float, then: Query | None = None) -> Sight | None:
        link = await self._connected()
        value = {"step": wire.encode(step), "then": wire.encode(then) if then else None}
        limit_s = timeout_s + GRACE_S + (OBSERVE_S if then else 0.0)
        try:
            message = await link.ask("act", value, timeout_s=timeout_s, limit_s=limit_s)
        except (TimeoutError, OSError):
            raise Uncertain(step.describe()) from None
        sight = _value(message, step.describe())
        return wire.decode_sight(sight) if then and sight is not None else None

    @property
    def changes(self) -> int:
        return self._changes

    @property
    def alarms(self) -> int:
        return self._alarms

    async def changed(self, since: int, *, timeout_s: float) -> None:
        deadline = self.now() + timeout_s
        while self._changes <= since and (left := deadline - self.now()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._connected()
            except (Problem, TimeoutError):
                left = min(left, RETRY_S)
            if self._changes <= since:
                await self._wait_for_news(left)

    def now(self) -> float:
        return time.monotonic()

    async def close(self) -> None:
        if self._link:
            await self._link.close()

    async def _wait_for_news(self, limit_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._news.wait()

    async def _connected(self) -> "_Link":
        """The connection, made if there is none. Raises `Problem` (`unavailable`)."""
        async with self._connecting:
            if self._link is None or self._link.lost:
                try:
                    async with asyncio.timeout(CONNECT_S):
                        reader, writer = await asyncio.open_unix_connection(self._path)
                except (OSError, TimeoutError) as error:
                    raise _away(f"cannot be reached at {self._path}: {error or 'no answer'}") from None
                self._link = _Link(reader, writer, self._changed)
                self._changed()
            return self._link

    def _changed(self, told: int | None = None) -> None:
        """`told` are the helper's alarms; None where there is none to tell, so that anything may have happened."""
        self._alarms += told is None or told != self._told
        self._told = told
        self._changes += 1
        self._news.set()
        self._news = asyncio.Event()


class _Link:
    """One connection, and the requests that wait for their answers on it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, changed: Callable[[int | None], None]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._changed = changed
        self._waiting: dict[int, asyncio.Future[_Message]] = {}
        self._last = 0
        self.lost = False
        self._listening = asyncio.create_task(self._listen())

    async def ask(self, verb: str, value: Any, *, timeout_s: float, limit_s: float) -> _Message:
        """Send a request and wait for its answer.

        Raises `TimeoutError` after `limit_s`, `OSError` when the connection is lost first.
        """
        self._last += 1
        number = self._last
        answer: asyncio.Future[_Message] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        name = attachment.get()
        frame = wire.pack({"id": number, "verb": verb, "value": value, "timeout_s": timeout_s, "attachment": name})
        try:
            if self.lost:
                raise ConnectionResetError("the connection is lost")
            async with asyncio.timeout(limit_s):
                self._writer.write(frame)
                await self._writer.drain()
                return await answer
        finally:
            del self._waiting[number]

    async def close(self) -> None:
        """Hang up."""
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        with suppress(OSError):
            await self._writer.wait_closed()

    async def _listen(self) -> None:
        try:
            while (message := await wire.read_frame(self._reader)) is not None:
                self._take(message)
        except (Problem, OSError) as error:
            log.warning("the helper's connection broke: %s", error)
        finally:
            self._lose()

    def _take(self, message: _Message) -> None:
        if "changes" in message:
            told = message.get("alarms")
            self._changed(told if isinstance(told, int) else None)
        elif message.get("id") is None:
            log.error("the helper refused: %s", _refusal(message))
        elif (waiting := self._waiting.get(message["id"])) and not waiting.done():
            waiting.set_result(message)

    def _lose(self) -> None:
        self.lost = True
        self._writer.close()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionResetError("the helper is gone"))
        self._changed(None)


def _value(message: _Message, what: str) -> Any:
    """What an answer brings. Raises the `Problem` or `Uncertain` that it brings."""
    if "problem" in message:
        raise wire.decode_problem(message["problem"])
    if "uncertain" in message:
        raise Uncertain(str(message["uncertain"]))
    if "value" not in message:
        raise Problem(Code.INTERNAL, f"the helper answered {what} with neither a value nor a problem")
    return message["value"]


def _refusal(message: _Message) -> str:
    try:
        return wire.decode_problem(message.get("problem")).detail
    except Problem:
        return ascii(message)[:200]


def _away(text: str) -> Problem:
    return Problem(Code.UNAVAILABLE, f"the helper {text}", hint="see: systemctl status cdmi-attach-helperd.service")
