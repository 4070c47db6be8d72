"""What `cdmi-attach resolve` says, held to the page that shows it, and to terminals."""

from typing import Any

from agent.cli import explain
from demo import explanations

ENTRY: dict[str, Any] = {"key": "Network/iSCSI", "protocol": "iscsi", "usable": False, "used": False, "reason": "r"}
ANSWER: dict[str, Any] = {
    "source": "cdmi://s/x",
    "server": "https://s/",
    "uri": "https://s/cdmi_objectid/1/",
    "object_id": "1",
    "name": "vol1",
    "kind": "container",
    "size": 1 << 20,
    "exports": [ENTRY],
}


async def test_the_page_shows_what_is_said() -> None:
    """Else: make explanations."""
    assert explanations.PAGE.read_text(encoding="utf-8") == await explanations.page()


def test_lines_fit_a_terminal() -> None:
    entry = ENTRY | {"reason": "word " * 100, "notes": ["note " * 50], "permissions": ["iqn.2026-01.org.x:y"] * 9}
    said = explain.text(ANSWER | {"exports": [entry], "above": [{"uri": "https://s/", "says": "much " * 50}]})
    assert max(map(len, said.splitlines())) <= 80


def test_what_the_server_wrote_cannot_drive_the_terminal() -> None:
    entry = ENTRY | {"key": "x\x1b[2J", "reason": "a\r\nb\x9b", "notes": ["\x1b]0;t\x07"], "plan": {"a\n": ["b\x1b"]}}
    said = explain.text(ANSWER | {"name": "v\x1b[1m", "exports": [entry], "above": [{"uri": "u\n", "says": "\x1b"}]})
    assert "\x1b" not in said and "\x9b" not in said and "\r" not in said and "\x07" not in said


def test_colours_are_for_terminals() -> None:
    used = ENTRY | {"usable": True, "used": True, "reason": "", "plan": {"target": "iqn.x", "lun": 1}}
    assert "\033[32mthis one is used\033[0m" in explain.text(ANSWER | {"exports": [used]}, colours=True)
    assert "\033" not in explain.text(ANSWER | {"exports": [used]})


def test_an_answer_of_an_older_daemon_is_shown() -> None:
    said = explain.text({"uri": "https://s/1", "kind": "container", "exports": [ENTRY, {**ENTRY, "used": True}]})
    assert "logs in to ? and takes LUN ?" in said


def test_what_is_waited_for_and_what_is_not() -> None:
    assert "An attach would wait for it." in explain.text(ANSWER | {"exports": [ENTRY | {"pending": True}]})
    assert "Nothing of it can be attached here." in explain.text(ANSWER)
    assert "It has no exports." in explain.text(ANSWER | {"exports": []})
    assert "not yet  40 %" in explain.text(ANSWER | {"pending": "40 % done"})
