"""Lines of ours in a file of others, between two marks: whatever becomes of the rest, they can be taken out again."""

from __future__ import annotations

from cdmi_one.failure import Failure

BEGIN, END = "# cdmi-attach: begin", "# cdmi-attach: end"


def unmarked(text: str) -> str:
    """The text without the lines from a begin mark to its end. Raises `Failure` where an end is missing."""
    kept: list[str] = []
    inside = False
    for line in text.splitlines(keepends=True):
        if line.strip() == BEGIN:
            inside = True
        elif line.strip() == END and inside:
            inside = False
        elif not inside:
            kept.append(line)
    if inside:
        raise Failure(f"there is {BEGIN!r} without its end", "take these lines out by hand")
    return "".join(kept)
