"""What oned is asked by its own commands, as every driver asks it."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ElementTree

from cdmi_one.failure import Failure, one_line

ASK_S = 60.0
REMEDY = "see to it that oned runs and that oneadmin may ask it, and retry"


def show(kind: str, name: str) -> ElementTree.Element:
    """What `onevm show -x NAME` prints (kind `vm`), or `onehost` (`host`), ... Raises `Failure`."""
    return _asked(f"{kind.upper() if kind == 'vm' else kind} {name}", [f"one{kind}", "show", "-x", name])


def listed(kind: str) -> ElementTree.Element:
    """What `onehost list -x` prints (kind `host`), or `onevm` (`vm`), ... Raises `Failure`."""
    return _asked(f"its {kind}s", [f"one{kind}", "list", "-x"])


def _asked(what: str, words: list[str]) -> ElementTree.Element:
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=ASK_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"oned does not tell of {what}: {one_line(str(error))}", REMEDY) from None
    if done.returncode:
        raise Failure(f"oned does not tell of {what}: {one_line(done.stderr or done.stdout)}", REMEDY)
    return parse(done.stdout)


def parse(text: str) -> ElementTree.Element:
    """The root of a document. Raises `Failure`."""
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise Failure(f"what oned tells is no XML: {error}", "see: onevm show -x") from None
