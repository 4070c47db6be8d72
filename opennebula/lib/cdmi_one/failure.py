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
    """The text without line breaks, which oned glues together without a blank, and in printable ASCII.

    In LANG=C the Ruby of oned's drivers reads nothing else: the error is lost, and success is told as failure.
    """
    return "".join(one if " " <= one <= "~" else _escaped(one) for one in " ".join(text.split()))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
