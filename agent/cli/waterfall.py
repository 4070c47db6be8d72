"""The steps of an attachment as a picture: what ran when, and what overlapped. Standalone SVG, for light and dark."""

from agent.cli import show, timing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

WIDTH, LEFT, RIGHT, TOP, ROW = 920, 20, 900, 62, 30
TICKS = 8
LETTER, LETTERS = 7.2, 112
"""The width of a letter of 12 px, at most about, and how many of them fit."""
STYLE = """\
  text { font: 12px system-ui, "Segoe UI", Helvetica, Arial, "DejaVu Sans", sans-serif; fill: #1f2328 }
  .title { font-size: 15px; font-weight: 600 }
  .faint { fill: #656d76 }
  .paper { fill: #ffffff }
  .grid { stroke: #d0d7de; stroke-width: 1 }
  .bar { fill: #2f81f7 }
  .bad { fill: #d1242f }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .faint { fill: #8d96a0 }
    .paper { fill: #0d1117 }
    .grid { stroke: #30363d }
    .bar { fill: #4493f8 }
    .bad { fill: #f85149 }
  }"""


def svg(view: "dict[str, Any]") -> str:
    """The picture of the last run of an attachment's steps."""
    found = timing.last_run(timing.spans(view.get("steps") or ()))
    title = f"{view.get('name')}: {view.get('phase')}, {show.duration(timing.total_ms(found))}"
    return drawn([(title, found)])


def drawn(runs: "Sequence[tuple[str, Sequence[timing.Span]]]") -> str:
    """Runs below each other, each with its title, on one axis of time."""
    whole = max(timing.total_ms(found) for _, found in runs) or 1.0
    heights = [TOP + ROW * len(found) + 16 for _, found in runs]
    title = "; ".join(title for title, _ in runs)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{sum(heights)}" '
        f'viewBox="0 0 {WIDTH} {sum(heights)}" role="img" aria-label="{_quoted(title)}">',
        f"<title>{_quoted(title)}</title>",
        f"<style>\n{STYLE}\n</style>",
        f'<rect class="paper" width="{WIDTH}" height="{sum(heights)}" rx="6"/>',
    ]
    for number, (caption, found) in enumerate(runs):
        parts += [
            f'<g transform="translate(0 {sum(heights[:number])})">',
            f'<text class="title" x="{LEFT}" y="26">{_quoted(caption)}</text>',
            *_axis(whole, heights[number]),
            *_bars(found, whole),
            "</g>",
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _axis(whole_ms: float, height: int) -> "Iterator[str]":
    step = _round(whole_ms / TICKS)
    for number in range(int(whole_ms / step) + 1):
        x = _x(number * step, whole_ms)
        yield f'<line class="grid" x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{height - 12}"/>'
        anchor = "start" if number == 0 else "middle" if x < RIGHT - 20 else "end"
        label = show.duration(number * step) if number else "0"
        yield f'<text class="faint" x="{x:.1f}" y="{TOP - 14}" text-anchor="{anchor}">{label}</text>'


def _bars(found: "Sequence[timing.Span]", whole_ms: float) -> "Iterator[str]":
    for row, span in enumerate(found):
        x, end = _x(span.start_ms, whole_ms), _x(span.end_ms, whole_ms)
        y, width = TOP + row * ROW, max(end - x, 2.0)
        kind = "bad" if span.problem else "bar"
        took, what = show.duration(span.took_ms), show.cut(show.visible(span.what), LETTERS)
        told = _quoted(f"{span.what}, {took}" + (f": {span.problem}" if span.problem else ""))
        yield f"<g><title>{told}</title>"
        yield f'<rect class="{kind}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="12" rx="2"/>'
        room = LETTER * (len(what) + len(took) + 1)
        text_x, anchor = (x, "start") if x + room < RIGHT else (RIGHT, "end")
        label = f'<tspan class="faint">{took}</tspan> {_quoted(what)}'
        yield f'<text x="{text_x:.1f}" y="{y + 24}" text-anchor="{anchor}">{label}</text></g>'


def _x(ms: float, whole_ms: float) -> float:
    return LEFT + (RIGHT - LEFT) * ms / whole_ms


def _round(ms: float) -> float:
    """1, 2 or 5 times a power of ten, at least `ms`."""
    power = 1.0
    while power * 10 <= ms:
        power *= 10
    while power > ms:
        power /= 10
    return next(power * times for times in (1, 2, 5, 10) if power * times >= ms)


def _quoted(text: str) -> str:
    quoted = show.visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return quoted.replace('"', "&quot;")
