"""What went wrong, as the one plain line that OpenNebula shows to its user."""

from __future__ import annotations


class Failure(Exception):
    """A script cannot do what it was asked for: what happened, and the remedy."""

    def __init__(self, detail: str, remedy: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy

    def __str__(self) -> str:
        return one_line("; ".join(part for part in (self.detail, self.remedy) if part))


def one_line(text: str) -> str:
    """The text without line breaks: oned glues lines together without a blank."""
    return " ".join(text.split())
