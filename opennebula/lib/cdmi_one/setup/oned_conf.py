"""`oned.conf` and `vmm_execrc` with the drivers in them, and without: pure, from text to text.

What is added is marked, or one word of a list, so that it can be taken out again from a file that was edited meanwhile.
Both forms of a file are left as they are in all else: comments, blanks, the case of names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cdmi_one.failure import Failure
from cdmi_one.setup.marks import BEGIN, END, unmarked

DRIVER = "cdmi"
_SYSTEMS = ("ssh", "shared", "qcow2")
"""The stock system datastores that a VM with our disks may be on, by their transfer drivers."""
_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)|(?P<text>"(?:\\.|[^"\\])*")|(?P<sign>[=\[\],])|(?P<word>[^\s=\[\],"\#]+)"""
)
_LIST = re.compile(r"(?<!\S)-d\s+(?P<names>[^\s\"]+)")


@dataclass(frozen=True)
class Entry:
    """`NAME = [ KEY = "VALUE", ... ]`: the values, by upper-case keys, and where each value is in the text."""

    name: str
    values: dict[str, str]
    spans: dict[str, tuple[int, int]]


def entries(text: str) -> Iterator[Entry]:
    """The bracketed entries of an oned.conf, in their order; comments are passed over."""
    tokens = [match for match in _TOKEN.finditer(text) if match.lastgroup != "comment"]
    at = 0
    while at + 2 < len(tokens):
        name, equals, opens = (token[0] for token in tokens[at : at + 3])
        if tokens[at].lastgroup != "word" or equals != "=" or opens != "[":
            at += 1
            continue
        end = next((index for index in range(at + 3, len(tokens)) if tokens[index][0] == "]"), len(tokens))
        yield _entry(name.upper(), tokens[at + 3 : end])
        at = end + 1


def _entry(name: str, tokens: list[re.Match[str]]) -> Entry:
    values: dict[str, str] = {}
    spans: dict[str, tuple[int, int]] = {}
    for key, equals, value in zip(tokens, tokens[1:], tokens[2:]):
        if equals[0] == "=" and key.lastgroup == "word":
            quoted = value.lastgroup == "text"
            values[key[0].upper()] = value[0][1:-1] if quoted else value[0]
            spans[key[0].upper()] = (value.start() + quoted, value.end() - quoted)
    return Entry(name, values, spans)


def with_drivers(text: str) -> str:
    """An oned.conf that knows the drivers. One that does so already is left as it is. Raises `Failure`."""
    for name in ("TM_MAD", "DATASTORE_MAD"):
        text = _listed(text, name)
    missing = [block for name, block in _BLOCKS.items() if not _has(text, name)]
    if not missing:
        return text
    gap = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{gap}{BEGIN}\n{''.join(missing)}{END}\n"


def without_drivers(text: str) -> str:
    """The same without what `with_drivers` adds."""
    for name in ("TM_MAD", "DATASTORE_MAD"):
        for entry in reversed(_all(text, name)):
            start, end = entry.spans.get("ARGUMENTS", (0, 0))
            text = text[:start] + _LIST.sub(_shorter, text[start:end]) + text[end:]
    return unmarked(text)


def _all(text: str, name: str) -> list[Entry]:
    return [entry for entry in entries(text) if entry.name == name]


def _has(text: str, name: str) -> bool:
    return any(entry.values.get("NAME") == DRIVER for entry in _all(text, name))


def _listed(text: str, name: str) -> str:
    """With the driver in the `-d` list; without such a list every driver is known."""
    found = _all(text, name)
    if len(found) != 1 or "ARGUMENTS" not in found[0].spans:
        what = f"oned.conf has {len(found)} entries {name} with ARGUMENTS, and not one"
        raise Failure(what, f"write {DRIVER} into the -d list of {name} by hand, then run this again")
    start, end = found[0].spans["ARGUMENTS"]
    return text[:start] + _LIST.sub(_longer, text[start:end]) + text[end:]


def _longer(match: re.Match[str]) -> str:
    names = match["names"].split(",")
    return match[0] if DRIVER in names else f"{match[0]},{DRIVER}"


def _shorter(match: re.Match[str]) -> str:
    names = [name for name in match["names"].split(",") if name != DRIVER]
    return match[0][: match.start("names") - match.start()] + ",".join(names)


def _transfer() -> str:
    systems = "".join(
        f'    LN_TARGET_{name} = "NONE", CLONE_TARGET_{name} = "SELF", DISK_TYPE_{name} = "BLOCK",\n'
        for name in (system.upper() for system in _SYSTEMS)
    )
    return (
        "TM_MAD_CONF = [\n"
        f'    NAME = "{DRIVER}", LN_TARGET = "NONE", CLONE_TARGET = "SELF", SHARED = "YES",\n'
        '    DRIVER = "raw", DISK_TYPE = "BLOCK", ALLOW_ORPHANS = "YES",\n'
        f'    TM_MAD_SYSTEM = "{",".join(_SYSTEMS)}",\n'
        f"{systems}"
        '    DS_MIGRATE = "NO", DS_LIVE_MIGRATE = "NO", DS_MIGRATE_SNAP = "NO"\n'
        "]\n"
    )


_BLOCKS = {
    "TM_MAD_CONF": _transfer(),
    "DS_MAD_CONF": (
        "DS_MAD_CONF = [\n"
        f'    NAME = "{DRIVER}", REQUIRED_ATTRS = "", PERSISTENT_ONLY = "NO", MARKETPLACE_ACTIONS = "export"\n'
        "]\n"
    ),
}

_LIVE = re.compile(r'^(?P<before>[ \t]*LIVE_DISK_SNAPSHOTS[ \t]*=[ \t]*")(?P<pairs>[^"\n]*)"', re.MULTILINE)


def with_live_snapshots(text: str) -> str:
    """A vmm_execrc that lets snapshots of running VMs be taken of our disks. Raises `Failure`."""
    match = _LIVE.search(text)
    if match is None:
        raise Failure(
            "vmm_execrc has no line LIVE_DISK_SNAPSHOTS=", f'write LIVE_DISK_SNAPSHOTS="kvm-{DRIVER}" into it'
        )
    pairs = match["pairs"].split()
    drivers = [name for name in ("kvm", "qemu") if name == "kvm" or any(pair.startswith(f"{name}-") for pair in pairs)]
    added = [f"{name}-{DRIVER}" for name in drivers if f"{name}-{DRIVER}" not in pairs]
    if not added:
        return text
    at = match.end("pairs")
    return f"{text[:at]}{' ' if pairs else ''}{' '.join(added)}{text[at:]}"


def without_live_snapshots(text: str) -> str:
    """The same without what `with_live_snapshots` adds."""
    return _LIVE.sub(lambda match: f'{match["before"]}{_less(match["pairs"])}"', text)


def _less(pairs: str) -> str:
    return re.sub(rf" ?(?<![^ ])(?:kvm|qemu)-{DRIVER}(?![^ ])", "", pairs)
