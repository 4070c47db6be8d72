"""How answers look on a terminal: a table of 80 columns, a tree, a sentence; nothing in them can drive the terminal."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

COLUMNS = (("NAME", 26), ("PHASE", 11), ("PROTO", 5), ("SIZE", 10), ("DEVICE", 24))
UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def visible(text: object) -> str:
    """The text on one line, everything unprintable escaped."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(text))


def as_json(value: Any) -> str:
    """For machines."""
    return json.dumps(value, indent=2)


def size(count: int | None) -> str:
    """Bytes for people: `100 MiB`, `1.5 GiB`."""
    if count is None:
        return "-"
    value, unit = float(count), 0
    while value >= 1024 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f}".removesuffix(".0") + f" {UNITS[unit]}"


def sentence(view: dict[str, Any]) -> str:
    """What came of an attach."""
    device = view.get("device") or {}
    verified = "verified" if view.get("verified") else "NOT VERIFIED: the export names no logical unit"
    parts = (view.get("phase"), f"by {view.get('protocol')}", size(device.get("size")), verified)
    return visible(f"{view.get('name')}: {', '.join(str(part) for part in parts)}")


def table(views: Sequence[dict[str, Any]]) -> str:
    """All attachments, one a line (two where there is a problem)."""
    lines = [_line([title for title, _ in COLUMNS])]
    for view in views:
        device = view.get("device") or {}
        cells = (view["name"], view["phase"], view.get("protocol"), size(device.get("size")), device.get("node"))
        lines.append(_line([visible(cell or "-") for cell in cells]))
        if problem := view.get("problem"):
            lines.append(_cut(visible(f"  {problem.get('code')}: {problem.get('detail')}"), 80))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return " ".join(_cut(cell, width).ljust(width) for cell, (_, width) in zip(cells, COLUMNS, strict=True)).rstrip()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "~"


def tree(value: dict[str, Any]) -> str:
    """An object and what is in it, indented."""
    return "\n".join(_branch(value, 0))


def _branch(value: Any, depth: int) -> Iterator[str]:
    items = value.items() if isinstance(value, dict) else (("-", item) for item in value)
    for key, item in items:
        label = "  " * depth + (key if key == "-" else f"{visible(key)}:")
        if isinstance(item, dict | list) and item:
            lines = list(_branch(item, depth + 1))
            yield from ([f"{label} {lines[0].lstrip()}", *lines[1:]] if key == "-" else [label, *lines])
        else:
            yield f"{label} {_leaf(item)}"


def _leaf(value: Any) -> str:
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
