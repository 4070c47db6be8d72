"""What takes something away says what it is about to do, and asks, on a terminal; scripts are not asked."""

import os
import pty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.uses import CAREFUL, Despite
from tests.unit.test_cli import SOURCE, Command, command

__all__ = ["command"]
ASKING = (
    ("delete", SOURCE),
    ("restore", SOURCE, "monday"),
    ("set-size", SOURCE, "4096", "--shrink"),
    ("fence", SOURCE, "iqn.2026-01.org.example:dead"),
)
Type = Callable[[str], None]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Type]:
    """Standard input is a terminal, and this types on it."""
    master, slave = pty.openpty()
    with os.fdopen(slave) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        yield lambda text: (os.write(master, text.encode()), None)[1]
    os.close(master)


def despite(command: Command) -> list[Despite]:
    return command.engine.objects.despite + command.engine.operations.despite


@pytest.mark.parametrize("words", ASKING)
def test_nothing_is_done_without_a_yes(command: Command, terminal: Type, words: tuple[str, ...]) -> None:
    for answer in ("n\n", "\n", "no\n", "\x04"):
        terminal(answer)
        run = command(*words)
        assert run.status == 1 and "nothing was done" in run.err and run.out == ""
    assert despite(command) == []


@pytest.mark.parametrize("words", ASKING)
def test_it_says_what_to_what_and_who_would_notice(command: Command, terminal: Type, words: tuple[str, ...]) -> None:
    command.engine.objects.attached = words[0] == "fence"
    terminal("y\n")
    run = command(*words)
    assert run.status == 0
    for said in (
        SOURCE,
        "dataobject disk.img, 100 MiB",
        "monday, tuesday",
        "iqn.2026-01.org.example:host-2 may use it",
    ):
        assert said in run.err
    assert ("attached  one" in run.err) is command.engine.objects.attached
    assert despite(command) == [Despite(object_id="45234")], "what was shown is what it is done to"


@pytest.mark.parametrize("words", ASKING)
def test_yes_and_scripts_are_not_asked(
    command: Command, terminal: Type, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command(*words, "--yes").status == 0
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        run = command(*words)
    assert run.status == 0 and "Go on" not in run.err
    assert despite(command) == [CAREFUL, CAREFUL]


def test_what_only_grows_is_not_asked_about(command: Command, terminal: Type) -> None:
    assert command("set-size", SOURCE, "4096").status == 0


def test_a_word_goes_with_it(command: Command) -> None:
    even = "--even-if-permitted-to-others"
    for words in (*ASKING[1:3], ("move", SOURCE, "cdmi://s/b")):
        assert command(*words, even).status == 0
    assert command("delete", SOURCE, even, "--with-snapshots").status == 0
    assert despite(command) == [
        Despite(permitted=True),
        Despite(permitted=True, snapshots=True),
        Despite(permitted=True),
        Despite(permitted=True),
    ]
