"""The one exception of the lab: what is wrong, and what to do about it."""

from __future__ import annotations


class LabError(Exception):
    """Something the lab cannot go on with; `remedy` is the next thing to do, for a person to read."""

    def __init__(self, problem: str, *, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}\n  remedy: {self.remedy}" if self.remedy else self.problem
