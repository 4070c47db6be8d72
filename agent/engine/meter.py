"""What the engine counts and times, wherever it goes: Prometheus in the daemon, nowhere in a test."""

from typing import Protocol


class Meter(Protocol):
    """Told of what ended, and how. `result` is `ok`, or a problem's code; times are seconds."""

    def operation(self, kind: str, protocol: str, result: str) -> None:
        """An attach or a detach."""
        ...

    def step(self, kind: str, seconds: float, result: str) -> None:
        """One step of one."""
        ...

    def commit(self, seconds: float) -> None:
        """A transaction of the ledger."""
        ...


class NoMeter:
    """Counts nothing."""

    def operation(self, kind: str, protocol: str, result: str) -> None:
        """Nothing."""

    def step(self, kind: str, seconds: float, result: str) -> None:
        """Nothing."""

    def commit(self, seconds: float) -> None:
        """Nothing."""
