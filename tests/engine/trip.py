"""Points at which the processes of a test can be killed."""

from dataclasses import dataclass, field


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
