"""A server that does not answer is left alone for a short while: whoever asks is told so at once. Pure but for time."""

from dataclasses import dataclass

from agent.cdmi.answers import unreachable
from agent.cdmi.server import Server
from attachers.problems import Problem

FAILURES = 5
REST_S = 10.0


@dataclass(slots=True)
class Breaker:
    """Closed (all may ask), open (none may, for `REST_S`), half open (one may, to see); times are the caller's clock.

    Only a server that could not be reached, or did not answer in time, has failed: whatever it answers, it is there.
    """

    server: Server
    failed: int = 0
    until: float = 0.0
    last: str = ""
    probing: bool = False

    def enter(self, now: float) -> None:
        """Ask to ask. Raises `Problem` cdmi-unreachable while the server is left alone."""
        if self.failed < FAILURES:
            return
        if self.probing or now < self.until:
            raise self._resting(max(self.until - now, 0.0))
        self.probing = True

    def answered(self) -> None:
        """The server is there."""
        self.failed, self.last = 0, ""

    def not_answered(self, problem: Problem, now: float) -> None:
        """The server was asked in vain."""
        self.failed += 1
        self.until, self.last = now + REST_S, problem.detail.removeprefix(f"{self.server.url}: ")

    def leave(self) -> None:
        """The conversation is over, whatever came of it; where the caller went away, that says nothing."""
        self.probing = False

    def _resting(self, left_s: float) -> Problem:
        again = "one request is trying it now" if self.probing else f"it is tried again in {left_s:.0f} s"
        reason = f"not asked, since the last {self.failed} requests were in vain ({self.last}); {again}"
        return unreachable(self.server, reason, status=502)
