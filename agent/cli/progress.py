"""What is being done while a request waits: one line on the terminal, written over and gone in the end."""

import select
import shutil
import sys
import time
from datetime import UTC, datetime

from agent.cli import client, show
from agent.cli.events import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agent.cli.verbs import Words

TICK_MS = 100
QUIET_S = 0.3
"""What is done sooner needs no progress."""


class Line:
    """The one line: `one-42-0: log in to ... 1.2 s`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._began = time.monotonic()
        self._since = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._what = ""
        self._shown = False

    def take(self, event: "dict[str, Any]") -> None:
        """An event: those of other attachments, and those from before, say nothing about this request."""
        if event.get("attachment") == self._name and str(event.get("at")) >= self._since:
            self._what = str(event.get("what") or event.get("phase") or "") or self._what

    def draw(self) -> None:
        """Write over what is there."""
        passed_s = time.monotonic() - self._began
        if passed_s >= QUIET_S:
            room = shutil.get_terminal_size().columns - 10
            text = show.cut(show.visible(f"{self._name}: {self._what or 'waiting for cdmi-attachd'}"), room)
            sys.stderr.write(f"\r{text} {passed_s:.1f} s\033[K")
            sys.stderr.flush()
            self._shown = True

    def clear(self) -> None:
        """Leave an empty line."""
        if self._shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()


def call(args: "Words", method: str, route: str, body: "Any", *, timeout_s: float) -> "dict[str, Any]":
    """As `client.call`, with the steps of the attachment on the terminal meanwhile."""
    request, line = client.Connection(args.socket, timeout_s), Line(args.name)
    stream: Stream | None = None
    try:
        request.send(method, route, body)
        ready = select.poll()
        ready.register(request.fileno(), select.POLLIN)
        stream = _stream(args.socket, ready)
        end = time.monotonic() + timeout_s
        while request.fileno() not in (came := [fd for fd, _ in ready.poll(TICK_MS)]) and time.monotonic() < end:
            if came and stream is not None and not _told(stream, line):
                ready.unregister(stream.fileno())
            line.draw()
        line.clear()
        return request.result()
    finally:
        line.clear()
        request.close()
        if stream is not None:
            stream.close()


def _stream(path: str, ready: select.poll) -> Stream | None:
    try:
        stream = Stream(path, None, 0, follow=True)
    except client.Failure:
        return None  # the request itself says it
    ready.register(stream.fileno(), select.POLLIN)
    return stream


def _told(stream: Stream, line: Line) -> bool:
    """Take the events that came; False when no more will: the daemon has none, or the stream has ended."""
    try:
        events = stream.read()
    except client.Failure:
        return False
    for event in events or ():
        line.take(event)
    return events is not None
