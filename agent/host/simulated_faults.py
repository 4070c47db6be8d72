"""Faults for a simulated host: what goes wrong, when, and how often."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from attachers.sights import Query
from attachers.steps import Step


class Moment(StrEnum):
    """When a hook is called: before anything happened, or when everything has but nobody was told."""

    BEFORE = "before"
    AFTER = "after"


Hook = Callable[[Moment, Step | Query], Awaitable[None]]
"""Called around every act and observation; what it raises is raised to the caller there and then."""


class Crash(BaseException):
    """The process above the host died here. The host itself stays as it is."""


class Hang(Exception):
    """Raised by a hook BEFORE a step: it takes `for_s` seconds (inf: for ever), and then `happens` or does not."""

    def __init__(self, for_s: float, *, happens: bool = True) -> None:
        super().__init__(f"hangs for {for_s} s")
        self.for_s = for_s
        self.happens = happens


@dataclass(slots=True)
class _Rule:
    what: type | Step | Query
    moment: Moment
    fault: BaseException
    times: int

    def fits(self, moment: Moment, what: Step | Query) -> bool:
        same = isinstance(what, self.what) if isinstance(self.what, type) else what == self.what
        return self.times > 0 and moment is self.moment and same


class Faults:
    """A scripted hook. `points` counts the calls so far, so that a test can crash at each of them in turn."""

    def __init__(self) -> None:
        self.points = 0
        self.log: list[tuple[Moment, Step | Query]] = []
        self._rules: list[_Rule] = []
        self._crash_at: int | None = None

    def on(
        self, what: type | Step | Query, fault: BaseException, *, moment: Moment = Moment.BEFORE, times: int = 1
    ) -> None:
        """Raise `fault` the next `times` times that a step or query equals `what` or is one of that class."""
        self._rules.append(_Rule(what, moment, fault, times))

    def crash_at(self, point: int | None) -> None:
        """Raise `Crash` at that call, counted from the first one of all (0); None: never."""
        self._crash_at = point

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._rules.clear()
        self._crash_at = None

    async def __call__(self, moment: Moment, what: Step | Query) -> None:
        point, self.points = self.points, self.points + 1
        self.log.append((moment, what))
        if point == self._crash_at:
            raise Crash(f"{moment} {what}")
        rule = next((rule for rule in self._rules if rule.fits(moment, what)), None)
        if rule:
            rule.times -= 1
            raise rule.fault
