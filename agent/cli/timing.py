"""When the steps of an attachment ran, in ms since the first one: for bars on a terminal, and for a picture."""

from datetime import datetime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

PAUSE_MS = 10_000
"""Steps that far apart belong to different runs: an attach, and what the daemon did later."""


class Span:
    """A step on the axis of time."""

    __slots__ = ("problem", "start_ms", "took_ms", "what")

    def __init__(self, what: str, problem: str, *, start_ms: float, took_ms: float) -> None:
        self.what = what
        self.problem = problem
        self.start_ms = start_ms
        self.took_ms = took_ms

    @property
    def end_ms(self) -> float:
        """When it had ended."""
        return self.start_ms + self.took_ms


def spans(steps: "Sequence[dict[str, Any]]") -> list[Span]:
    """The steps by their beginnings, the first one at 0; a step without a time follows the one before it."""
    found: list[Span] = []
    end_ms = 0.0
    for step in steps:
        at, took_ms = _ms(step.get("at")), float(step.get("took_ms") or 0)
        start_ms = end_ms if at is None else at
        end_ms = start_ms + took_ms
        found.append(Span(str(step.get("what")), str(step.get("problem") or ""), start_ms=start_ms, took_ms=took_ms))
    found.sort(key=lambda span: span.start_ms)
    for span in reversed(found):
        span.start_ms -= found[0].start_ms
    return found


def last_run(found: "Sequence[Span]") -> list[Span]:
    """The spans after the last long pause, the first one at 0."""
    first, end_ms = 0, 0.0
    for index, span in enumerate(found):
        if span.start_ms > end_ms + PAUSE_MS:
            first = index
        end_ms = max(end_ms, span.end_ms)
    run = list(found[first:])
    for span in reversed(run):
        span.start_ms -= run[0].start_ms
    return run


def total_ms(found: "Sequence[Span]") -> float:
    """From the first beginning to the last end."""
    return max((span.end_ms for span in found), default=0.0)


def _ms(at: "Any") -> float | None:
    """Milliseconds of an RFC 3339 time, `2026-01-01T00:00:00.000Z`."""
    try:
        return datetime.fromisoformat(str(at).replace("Z", "+00:00")).timestamp() * 1000
    except ValueError:
        return None
