"""`events`: steps as they happen, taken up again where a connection broke; polled where the daemon has no route."""

import select
import sys

from agent.cli import client, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from agent.cli.verbs import Words

POLL_MS = 1000
"""How often a daemon without events is asked."""
EMPTY_STREAMS = 5
"""A stream that ends so often without a word is no stream."""
MARKS = {
    "step-began": (">", show.BLUE),
    "step-ended": ("+", show.GREEN),
    "phase": ("=", show.BOLD),
    "operation": ("*", show.BOLD),
}


class Stream:
    """The daemon's events from number `since` on, over one connection. Raises `Failure`, also where there are none."""

    def __init__(self, path: str, name: str | None, since: int, *, follow: bool) -> None:
        self._connection = client.Connection(path, None)
        self._line = b""
        route = "/v1/events" if name is None else client.attachment(name) + "/events"
        self._connection.send("GET", f"{route}?since={since}" + ("" if follow else "&follow=0"))

    def fileno(self) -> int:
        """For poll."""
        return self._connection.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._connection.close()

    def read(self) -> "list[dict[str, Any]] | None":
        """Wait for bytes, and return what events they complete: None when the stream has ended."""
        if self._connection.done:
            return None
        data = self._connection.receive()
        if self._connection.refused:
            self._connection.result(data)
        *lines, self._line = (self._line + data).split(b"\n")
        return [client.parse(line) for line in lines if line.strip()]


def run(args: "Words") -> int:
    """Print events, one a line, until interrupted."""
    colours = show.coloured(sys.stdout)
    try:
        for event in _followed(args.socket, args.name, args.since, follow=not args.no_follow):
            print(_compact(event) if args.json else _line(event, colours=colours), flush=True)
    except client.Failure as failure:
        if not failure.is_unsupported:
            raise
        for event in _polled(args):
            print(_compact(event) if args.json else _line(event, colours=colours), flush=True)
    return 0


def _followed(path: str, name: str | None, since: int, *, follow: bool) -> "Iterator[dict[str, Any]]":
    """Every event once, over as many connections as it takes."""
    empty = 0
    while empty < EMPTY_STREAMS:
        stream = Stream(path, name, since, follow=follow)
        empty += 1
        try:
            while (events := _next(stream)) is not None:
                for event in events:
                    since, empty = max(since, int(event.get("seq", since))), 0
                    yield event
        finally:
            stream.close()
        if not follow:
            return
    raise client.Failure(
        client.UNREACHABLE, "the events of cdmi-attachd end at once", "see: journalctl -u cdmi-attachd"
    )


def _next(stream: Stream) -> "list[dict[str, Any]] | None":
    """As `read`; a connection that breaks within the stream has ended."""
    try:
        return stream.read()
    except client.Failure as failure:
        if failure.status != client.UNREACHABLE:
            raise
        return None


def _polled(args: "Words") -> "Iterator[dict[str, Any]]":
    """What the attachments' own lists of steps tell, once a second, in the shape of events without a number."""
    seen = set[tuple[object, ...]]()
    reader = select.poll()
    reader.register(1, 0)  # tells when nobody reads any more
    while True:
        route = "/v1/attachments" if args.name is None else client.attachment(args.name)
        answer = client.call(args.socket, "GET", route, timeout_s=client.GRACE_S)
        for view in answer.get("attachments", [answer]):
            for step in view["steps"]:
                event = {"at": step.get("at"), "attachment": view["name"], "kind": "step-ended", **step}
                if (key := (view["name"], step.get("at"), step.get("what"))) not in seen:
                    seen.add(key)
                    yield event
        if args.no_follow or reader.poll(POLL_MS):
            return


def _compact(event: "dict[str, Any]") -> str:
    import json

    return json.dumps(event, separators=(", ", ": "))


def _line(event: "dict[str, Any]", *, colours: bool) -> str:
    """`12:00:00.000  one-42-0  + log in to ... (41 ms)`, in UTC as everywhere."""
    mark, colour = MARKS.get(str(event.get("kind")), ("!", show.YELLOW))
    text = str(event.get("what") or event.get("phase") or event.get("kind"))
    if event.get("kind") == "operation":
        by = event.get("by") or f"user {event.get('uid')} (pid {event.get('pid')})"
        text += f": {event.get('outcome')}{' (' + str(event['code']) + ')' if event.get('code') else ''}, by {by}"
    if event.get("took_ms") is not None:
        text += f" ({show.duration(event['took_ms'])})"
    if problem := event.get("problem"):
        mark, colour, text = "x", show.RED, f"{text}: {problem}"
    at = show.visible(str(event.get("at") or "")[11:23]).ljust(12)
    name = show.visible(event.get("attachment") or "-")
    return f"{at}  {name}  {show.paint(mark, colour, on=colours)} {show.visible(text)}"
