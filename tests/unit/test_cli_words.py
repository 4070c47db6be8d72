"""The command line: the quick reader is held to argparse, the completion to both."""

import argparse
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.cli.completion import bash
from agent.cli.main import parser
from agent.cli.verbs import VERBS, Words, quick

PLAIN = (
    "status",
    "status a",
    "status --watch",
    "status a --svg x.svg",
    "--json status",
    "--socket /x status --json",
    "--json --socket /x status a",
    "status --socket /y --json a",
    "--socket /x status --socket /y",
    "attach S --name n",
    "attach --name n S --ro --protocol fc --protocol iscsi --timeout 7.5",
    "attach S --name n --file --domain d --target sda",
    "attach S --name n --share --generation 7",
    "attach S --name n --lease 600",
    "confirm n --generation 8",
    "detach n --force",
    "detach n --generation 8",
    "status --vm 42 --json",
    "events",
    "events n --since 12 --no-follow",
    "resolve S",
    "stat S",
    "set-metadata S --remove a",
    "cat S",
    "put f D --replace",
    "cat S -o f --json",
    "clone S D --size 4096 --timeout 2",
    "snapshot S monday",
    "restore S monday --timeout 3",
    "create D --size 4096 --kind dataobject",
    "move S D",
    "set-size S 4096 --shrink",
    "capacity S",
    "delete --json S",
    "leftovers",
    "leftovers --clean",
    "leftovers --clean 0123456789ab --json",
    "host",
    "doctor",
    "completion bash",
)
ODD = (
    "",
    "--help",
    "status --help",
    "status -h",
    "stat",
    "set-metadata S a=b",
    "attach S --name n --generation x",
    "sta",
    "delete",
    "cat",
    "put - D",
    "put f",
    "cat S -o",
    "cat S -o -",
    "cat S -of",
    "clone S",
    "clone S D --size big",
    "snapshot S",
    "fence S",
    "fence S a",
    "fence S a b --json",
    "create D --kind x",
    "set-size S",
    "status a b",
    "status --wat",
    "status --svg",
    "status --name=a",
    "attach S",
    "attach --name n",
    "attach S --name",
    "attach S --name -x",
    "attach S --name=n",
    "attach S --name n --timeout soon",
    "events --since x",
    "doctor iscsid",
    "completion zsh",
    "host x",
    "--socket status",
    "--json",
    "status --",
)


def by_argparse(line: Sequence[str]) -> dict[str, object] | None:
    try:
        return vars(parser().parse_args(line, namespace=Words()))
    except SystemExit:
        return None


@pytest.mark.parametrize("line", PLAIN)
def test_a_plain_line_is_read_as_argparse_reads_it(line: str) -> None:
    words = quick(line.split())
    assert words is not None and vars(words) == by_argparse(line.split())


@pytest.mark.parametrize("line", ODD)
def test_an_odd_line_is_left_to_argparse(line: str) -> None:
    assert quick(line.split()) is None


def test_every_word_has_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    verbs = next(action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    assert set(verbs.choices) == set(VERBS)
    for name, verb in VERBS.items():
        shown = re.sub(r"\s+", " ", verbs.choices[name].format_help())
        for word in verb.words:
            assert str(word.keywords.get("help") or word.keywords["metavar"]) in shown, word.name


def complete(line: str, *, path: Path) -> set[str]:
    """What bash offers for the last word of a line."""
    words = line.split(" ")
    script = (
        f"{bash()}\nCOMP_WORDS=({' '.join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1}\n"
        'cdmi-attach() { printf "%s\\n" "$*" >> asked; cat answer; }\n'
        '_cdmi_attach; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, cwd=path)
    assert done.stderr == ""
    return set(done.stdout.split())


def test_bash_completes_verbs_options_and_names(tmp_path: Path) -> None:
    views = {"attachments": [{"name": "one-42-0", "device": {"name": "x"}}, {"name": "two"}]}
    (tmp_path / "answer").write_text(json.dumps(views, indent=2))
    assert complete("cdmi-attach ", path=tmp_path) == set(VERBS)
    assert complete("cdmi-attach st", path=tmp_path) == {"stat", "status"}
    assert complete("cdmi-attach --s", path=tmp_path) == {"--socket"}
    assert complete("cdmi-attach status --", path=tmp_path) == {
        "--vm",
        "--watch",
        "--svg",
        "--socket",
        "--json",
        "--help",
    }
    assert complete("cdmi-attach attach S --t", path=tmp_path) == {"--target", "--timeout"}
    assert complete("cdmi-attach completion ", path=tmp_path) == {"bash"}
    assert complete("cdmi-attach attach S --timeout ", path=tmp_path) == set()
    assert not (tmp_path / "asked").exists(), "the daemon is asked for names alone"
    for verb in ("detach", "status", "events"):
        assert complete(f"cdmi-attach --socket /x {verb} o", path=tmp_path) == {"one-42-0"}
    assert (tmp_path / "asked").read_text().splitlines() == ["--socket /x status --json"] * 3
    assert complete("cdmi-attach status one-42-0 --svg an", path=tmp_path) == {"answer"}


def test_the_completion_is_clean_shell() -> None:
    subprocess.run(["bash", "-n"], input=bash(), text=True, check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "-s", "bash", "-"], input=bash(), text=True, check=True)
