"""How one attachment looks: the tree, the bars, the picture; on terminals, and off them."""

import io
import sys
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from agent.cli import detail, show, timing, waterfall

STEPS = [
    {"at": "2026-01-01T00:00:00.000Z", "took_ms": 100, "what": "resolve cdmi://x"},
    {"at": "2026-01-01T00:00:00.100Z", "took_ms": 200, "what": "grant <iqn> & more"},
    {"at": "2026-01-01T00:00:00.200Z", "took_ms": 200, "what": "log in", "problem": "no\nanswer"},
]
VIEW: dict[str, Any] = {
    "name": "one-42-0",
    "phase": "degraded",
    "protocol": "iscsi",
    "verified": True,
    "source": "cdmi://x\x1b[2J",
    "access": "rw",
    "link": "/run/cdmi-attach/disk/one-42-0",
    "device": {
        "node": "/dev/sda",
        "wwid": "naa.6",
        "size": 1 << 30,
        "read_only": True,
        "paths": [
            {"node": "/dev/sda", "hctl": "2:0:0:3", "via": "10.0.0.1:3260", "state": "running"},
            {"node": "/dev/sdb", "hctl": "3:0:0:3", "via": "10.0.0.2:3260", "state": "offline"},
        ],
    },
    "domains": [{"name": "one-42", "target": "sda"}],
    "tainted": [],
    "problem": {"code": "busy", "detail": "wait", "hint": "ask again"},
    "steps": STEPS,
}
TREE = """\
one-42-0  degraded, iscsi, verified
├─ source   cdmi://x\\x1b[2J
├─ link     /run/cdmi-attach/disk/one-42-0
├─ access   rw
├─ domain   one-42 as sda
├─ problem  busy: wait
│  └─ remedy   ask again
├─ device   /dev/sda  1 GiB  read-only  naa.6
│  ├─ path     /dev/sda  2:0:0:3  via 10.0.0.1:3260  running
│  └─ path     /dev/sdb  3:0:0:3  via 10.0.0.2:3260  offline
└─ steps    400 ms in all
   ├─ █████                  100 ms  resolve cdmi://x
   ├─      ██████████        200 ms  grant <iqn> & more
   ├─           ██████████   200 ms  log in
   └─                                no\\nanswer"""


def test_an_attachment_is_a_tree_with_bars_on_one_axis() -> None:
    assert detail.text(VIEW, colours=False) == TREE
    assert max(map(len, TREE.splitlines())) <= 80


def test_colours_are_all_that_a_terminal_adds() -> None:
    import re

    painted = detail.text(VIEW, colours=True)
    assert "\033[33mdegraded\033[0m" in painted and "\033[31moffline\033[0m" in painted
    assert re.sub(r"\033\[\d+m", "", painted) == TREE
    table = show.table([VIEW], colours=True)
    assert re.sub(r"\033\[\d+m", "", table) == show.table([VIEW])


def test_a_terminal_without_unicode_gets_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    shown = detail.text(VIEW, colours=False)
    assert shown.isascii() and "`- steps    400 ms in all" in shown and "#####" in shown


def test_colours_need_a_terminal_that_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert show.coloured(Terminal()) and not show.coloured(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not show.coloured(Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not show.coloured(Terminal())


def test_steps_fit_80_columns() -> None:
    steps = [
        {"at": f"2026-01-01T00:00:0{n}.000Z", "took_ms": 59_999, "what": "w" * 200, "problem": "p"} for n in (1, 2)
    ]
    shown = detail.text({**VIEW, "steps": steps}, colours=False).splitlines()
    assert max(map(len, shown)) == 80


def test_nothing_is_shown_of_what_is_not_there() -> None:
    bare = {"name": "a", "phase": "failed", "source": "s", "steps": []}
    assert detail.text(bare, colours=False) == "a  failed, -\n└─ source   s"
    assert "</svg>" in waterfall.svg(bare)


def test_only_the_last_run_is_on_the_axis() -> None:
    later = {"at": "2026-01-01T01:00:00.000Z", "took_ms": 7, "what": "look again"}
    (span,) = timing.last_run(timing.spans([*STEPS, later]))
    assert (span.what, span.start_ms, span.took_ms) == ("look again", 0, 7)
    untimed = timing.spans([{"what": "a", "took_ms": 5}, {"what": "b", "at": "soon"}])
    assert [(span.start_ms, span.end_ms) for span in untimed] == [(0, 5), (5, 5)]


@pytest.mark.parametrize("scale", [0, 1, 37, 100_000])
def test_the_picture_is_whole_and_to_scale(scale: int) -> None:
    steps = [{**step, "took_ms": int(str(step["took_ms"])) * scale} for step in STEPS]
    root = ElementTree.fromstring(waterfall.svg({**VIEW, "steps": steps}))
    space = "{http://www.w3.org/2000/svg}"
    width = float(root.attrib["width"])
    bars = [bar.attrib for bar in root.iter(f"{space}rect") if bar.attrib["class"] in ("bar", "bad")]
    assert [bar["class"] for bar in bars] == ["bar", "bar", "bad"]
    for bar in bars:
        assert float(bar["x"]) >= 0 and float(bar["x"]) + float(bar["width"]) <= width
    if scale == 1:
        assert float(bars[1]["width"]) == pytest.approx(2 * float(bars[0]["width"]), rel=0.01)
        assert float(bars[2]["x"]) < float(bars[1]["x"]) + float(bars[1]["width"]), "they overlap"
    texts = ["".join(text.itertext()) for text in root.iter(f"{space}text")]
    assert any(text.endswith("s grant <iqn> & more") for text in texts)
    assert all(0 <= float(text.attrib["x"]) <= width for text in root.iter(f"{space}text"))


def test_a_long_word_keeps_both_ends() -> None:
    assert show.cut("abcdefghij", 10) == "abcdefghij"
    assert show.cut("abcdefghijk", 10) == "abcdef~ijk"
    assert (show.duration(41), show.duration(1200)) == ("41 ms", "1.20 s")
