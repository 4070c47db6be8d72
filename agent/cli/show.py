"""How answers look: a table of 80 columns, a tree, a sentence; nothing in them can drive the terminal.

Colours come last, and only onto a terminal that wants them (https://no-color.org).
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, TextIO

WIDTH = 80
COLUMNS = (("NAME", 26), ("PHASE", 11), ("PROTO", 5), ("SIZE", 10), ("DEVICE", 24))
UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
GREEN, YELLOW, RED, BLUE, BOLD, DIM = "32", "33", "31", "34", "1", "2"
PHASES = {
    "attached": GREEN,
    "degraded": YELLOW,
    "attaching": BLUE,
    "detaching": BLUE,
    "uncertain": YELLOW,
    "quarantined": RED,
    "failed": RED,
}


def say(text: str) -> None:
    """A sentence for people, on stderr."""
    print(f"cdmi-attach: {text}", file=sys.stderr, flush=True)


def coloured(stream: "TextIO") -> bool:
    """Whether this stream is a terminal that shows colours."""
    if not stream.isatty():
        return False
    import os

    return not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def paint(text: str, colour: str, *, on: bool) -> str:
    """The text in a colour, `on` a terminal that shows it."""
    return f"\033[{colour}m{text}\033[0m" if on and colour and text else text


def visible(text: object) -> str:
    """The text on one line, everything unprintable escaped."""
    whole = str(text)
    if whole.isprintable():
        return whole
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in whole)


def as_json(value: "Any") -> str:
    """For machines."""
    import json

    return json.dumps(value, indent=2)


def size(count: int | None) -> str:
    """Bytes for people: `100 MiB`, `1.5 GiB`."""
    if count is None:
        return "-"
    value, unit = float(count), 0
    while value >= 1024 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f}".removesuffix(".0") + f" {UNITS[unit]}"


def duration(took_ms: float) -> str:
    """A time for people: `41 ms`, `1.20 s`."""
    return f"{took_ms:.0f} ms" if took_ms < 1000 else f"{took_ms / 1000:.2f} s"


def verified(view: "dict[str, Any]") -> str:
    """Whether the right disk was proved."""
    return "verified" if view.get("verified") else "NOT VERIFIED: the export names no logical unit"


def sentence(view: "dict[str, Any]") -> str:
    """What came of an attach."""
    device = view.get("device") or {}
    parts = (view.get("phase"), f"by {view.get('protocol')}", size(device.get("size")), verified(view))
    return visible(f"{view.get('name')}: {', '.join(str(part) for part in parts)}")


def table(views: "Sequence[dict[str, Any]]", *, colours: bool = False) -> str:
    """All attachments, one a line (two where there is a problem); long words lose their middle."""
    lines = [paint(_line([title for title, _ in COLUMNS]), DIM, on=colours)]
    for view in views:
        device = view.get("device") or {}
        phase = str(view["phase"])
        cells = (view["name"], phase, view.get("protocol"), size(device.get("size")), device.get("node"))
        line = _line([visible(cell or "-") for cell in cells])
        if colours:
            start = COLUMNS[0][1] + 1
            line = f"{line[:start]}{paint(phase, PHASES.get(phase, ''), on=True)}{line[start + len(phase) :]}"
        lines.append(line)
        if problem := view.get("problem"):
            said = cut(visible(f"  {problem.get('code')}: {problem.get('detail')}"), WIDTH)
            lines.append(paint(said, RED, on=colours))
    return "\n".join(lines)


def _line(cells: "Sequence[str]") -> str:
    return " ".join(cut(cell, width).ljust(width) for cell, (_, width) in zip(cells, COLUMNS, strict=True)).rstrip()


def cut(text: str, width: int) -> str:
    """The text in so many columns: the end of a name tells more than its middle."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 3
    return f"{text[: width - 1 - tail]}~{text[len(text) - tail :]}"


def tree(value: "dict[str, Any]") -> str:
    """An object and what is in it, indented."""
    return "\n".join(_branch(value, 0))


def _branch(value: "Any", depth: int) -> "Iterator[str]":
    items = value.items() if isinstance(value, dict) else (("-", item) for item in value)
    for key, item in items:
        label = "  " * depth + (key if key == "-" else f"{visible(key)}:")
        if isinstance(item, dict | list) and item:
            lines = list(_branch(item, depth + 1))
            yield from ([f"{label} {lines[0].lstrip()}", *lines[1:]] if key == "-" else [label, *lines])
        else:
            yield f"{label} {_leaf(item)}"


def _leaf(value: "Any") -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case "":
            return "-"
        case {} | []:
            return "none"
        case _:
            return visible(value)
