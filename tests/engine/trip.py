"""Points at which the processes of a test can be killed, and which of them each way to die takes."""

import os
from dataclasses import dataclass, field

ALL = os.environ.get("CDMI_CRASHES") == "all"
DIES = ("both", "daemon", "helper")
FOLLOW_UPS = ("finish", "undo", "rest")


class Crash(BaseException):
    """The process was killed at this point. No handler of the product may catch it."""


@dataclass(slots=True)
class Trip:
    """Kills the processes at the n-th point that they pass (0: never), and everything they still try after it."""

    at: int = 0
    points: list[str] = field(default_factory=list)
    dead: bool = False

    def pass_(self, point: str) -> None:
        if self.dead:
            raise Crash(point)
        self.points.append(point)
        if len(self.points) == self.at:
            self.dead = True
            raise Crash(point)


def share_of(points: int, follow_up: str, *, dies: str, stride: int, shared_by: int) -> range:
    """Which points, counted from 1, this way to die takes: every `stride`-th, were it alone."""
    if ALL:
        return range(1, points + 1, stride)
    way = 2 * DIES.index(dies) + FOLLOW_UPS.index(follow_up)
    return range(1 + stride * (way % shared_by), points + 1, stride * shared_by)
