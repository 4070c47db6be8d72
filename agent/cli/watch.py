"""`status --watch`: show the state again whenever events say that something happened, until SIGINT or SIGTERM."""

import os
import select
import signal
from contextlib import closing

from agent.cli import client
from agent.cli.events import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

TICK_MS = 1000
"""How often to look where the daemon tells no events."""


def run(path: str, text: "Callable[[], str]", *, wipe: bool) -> int:
    """Print `text()` whenever it is another one; `wipe` writes over the last one, on a terminal."""
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    shown = None
    with closing(_Changes(path, ended)) as changes:
        while True:
            if (now := text()) != shown:
                shown = now
                print(_wiped(now) if wipe else now, flush=True)
            if not changes.wait():
                return 0


def _wiped(text: str) -> str:
    """Over the old lines without a flicker: home, each line to its end, then the rest of the screen."""
    return "\033[H" + "".join(f"{line}\033[K\n" for line in text.split("\n")) + "\033[J"


class _Changes:
    """Waits for events, or for a second where there are none; the pipe `ended` has something when it is over."""

    def __init__(self, path: str, ended: int) -> None:
        self._path = path
        self._ended = ended
        self._ready = select.poll()
        self._ready.register(ended, select.POLLIN)
        self._since = 0
        self._stream: Stream | None = None
        self._deaf = False
        self._listen()

    def wait(self) -> bool:
        """True when something may have changed, False when it is over."""
        came = [fd for fd, _ in self._ready.poll(TICK_MS if self._stream is None else None)]
        if self._ended in came:
            return False
        if self._stream is None:
            self._listen()
        elif not self._took(self._stream):
            self._ready.unregister(self._stream.fileno())
            self.close()
        return True

    def close(self) -> None:
        """Stop listening."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _listen(self) -> None:
        """Take up the events where they were left; only the clock where the daemon has none."""
        if self._deaf:
            return
        try:
            self._stream = Stream(self._path, None, self._since, follow=True)
        except client.Failure:
            return
        self._ready.register(self._stream.fileno(), select.POLLIN)

    def _took(self, stream: Stream) -> bool:
        try:
            events = stream.read()
        except client.Failure as failure:
            self._deaf = failure.is_unsupported
            return False
        for event in events or ():
            self._since = max(self._since, int(event.get("seq", 0)))
        return events is not None
