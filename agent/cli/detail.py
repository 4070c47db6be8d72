"""One attachment as a tree: what it is, its device and paths, its steps with bars as long as they took."""

import sys

from agent.cli import show, timing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

BAR, TEXT = 20, 43
EIGHTHS = " ▏▎▍▌▋▊▉█"
PLAIN = {"├─ ": "|- ", "└─ ": "`- ", "│  ": "|  "}


def text(view: "dict[str, Any]", *, colours: bool) -> str:
    """The tree, in ASCII where the terminal has nothing else."""
    whole = "\n".join(_lines(view, colours=colours))
    if "utf" in (sys.stdout.encoding or "").lower():
        return whole
    for fine, plain in PLAIN.items():
        whole = whole.replace(fine, plain)
    return "".join("#" if char in EIGHTHS[1:] else char for char in whole)


def _lines(view: "dict[str, Any]", *, colours: bool) -> "Iterator[str]":
    phase = str(view.get("phase"))
    head = show.paint(show.visible(view.get("name")), show.BOLD, on=colours)
    state = show.paint(show.visible(phase), show.PHASES.get(phase, ""), on=colours)
    said = [state, show.visible(view.get("protocol") or "-")]
    if view.get("device"):
        said.append(show.paint(show.verified(view), "" if view.get("verified") else show.RED, on=colours))
    yield f"{head}  {', '.join(said)}"
    branches = [*_facts(view, colours=colours), *_device(view, colours=colours), *_steps(view, colours=colours)]
    for index, (line, inner) in enumerate(branches):
        last = index == len(branches) - 1
        yield ("└─ " if last else "├─ ") + line
        for number, leaf in enumerate(inner):
            yield ("   " if last else "│  ") + ("└─ " if number == len(inner) - 1 else "├─ ") + leaf


def _facts(view: "dict[str, Any]", *, colours: bool) -> "Iterator[tuple[str, list[str]]]":
    yield _fact("source", view.get("source"), colours=colours), []
    for key in ("link", "access"):
        if view.get(key):
            yield _fact(key, view[key], colours=colours), []
    if lease := view.get("lease"):
        ends = f"ends {lease.get('ends')}" if lease.get("ends") else "begins when it is attached"
        yield _fact("lease", f"{lease.get('seconds'):g} s, {ends}, unless confirmed or in use", colours=colours), []
    for domain in view.get("domains") or ():
        dead = ": dead, re-plug it" if domain.get("state") == "dead" else ""
        yield _fact("domain", f"{domain.get('name')} as {domain.get('target')}{dead}", colours=colours), []
    for tainted in view.get("tainted") or ():
        yield _fact("tainted", tainted, colours=colours), []
    if view.get("note"):
        yield _fact("note", view["note"], colours=colours), []
    if problem := view.get("problem"):
        said = show.paint(show.visible(f"{problem.get('code')}: {problem.get('detail')}"), show.RED, on=colours)
        hint = problem.get("hint")
        yield f"{'problem':9}{said}", [f"{'remedy':9}{show.visible(hint)}"] if hint else []


def _device(view: "dict[str, Any]", *, colours: bool) -> "Iterator[tuple[str, list[str]]]":
    device = view.get("device")
    if not device:
        return
    mode = "read-only" if device.get("read_only") else "read-write"
    said = f"{device.get('node')}  {show.size(device.get('size'))}  {mode}  {device.get('wwid') or 'no identity'}"
    paths = []
    for path in device.get("paths") or ():
        state = str(path.get("state"))
        shown = show.paint(show.visible(state), show.GREEN if state == "running" else show.RED, on=colours)
        paths.append(
            f"{'path':9}{show.visible(path.get('node'))}  {show.visible(path.get('hctl'))}"
            f"  via {show.visible(path.get('via'))}  {shown}"
        )
    yield _fact("device", said, colours=colours), paths


def _fact(key: str, value: object, *, colours: bool) -> str:
    return show.paint(f"{key:9}", show.DIM, on=colours) + show.visible(value)


def _steps(view: "dict[str, Any]", *, colours: bool) -> "Iterator[tuple[str, list[str]]]":
    found = timing.last_run(timing.spans(view.get("steps") or ()))
    if not found:
        return
    whole = timing.total_ms(found)
    lines = []
    for span in found:
        bar = _bar(span, whole)
        coloured = show.paint(bar.rstrip(), show.RED if span.problem else show.BLUE, on=colours)
        bar = coloured + " " * (BAR - len(bar.rstrip()))
        what = show.cut(show.visible(span.what), TEXT)
        lines.append(f"{bar} {show.duration(span.took_ms):>8}  {what}".rstrip())
        if span.problem:
            lines.append(
                " " * (BAR + 11) + show.paint(show.cut(show.visible(span.problem), TEXT), show.RED, on=colours)
            )
    yield _fact("steps", f"{show.duration(whole)} in all", colours=colours), lines


def _bar(span: timing.Span, whole_ms: float) -> str:
    """Where on the axis of `BAR` columns the step ran: to an eighth of a column, at least one eighth."""
    scale = BAR * 8 / whole_ms if whole_ms else 0
    start = min(round(span.start_ms * scale), BAR * 8 - 1) if scale else 0
    length = max(round(span.took_ms * scale), 1)
    full, rest = divmod(length, 8)
    bar = " " * (start // 8) + EIGHTHS[8] * full + (EIGHTHS[rest] if rest else "")
    return bar[:BAR].ljust(BAR)
