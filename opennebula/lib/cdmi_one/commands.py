"""Lines for the shell of a host: `cdmi-attach` with its words, and the link that a VM's disk is."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping

from cdmi_one.places import Place
from cdmi_one.remote import CONFLICT, FAILED, NOT_FOUND, TIMEOUT
from cdmi_one.vm import Disk

TAKEN = 75
"""The status of a script that found something at the place of a copy (`EX_TEMPFAIL`; cdmi-attach has none like it)."""
HOURS = "1 2 3 4"
"""How often a server's work is waited for, an hour each: the same request again joins the one that is under way."""
MINUTES = " ".join(map(str, range(1, 61)))
"""How often a delete that the server has accepted is asked for again: the daemon waits a minute for it each time."""


def cdmi(*words: object) -> str:
    """`cdmi-attach` with these words."""
    return shlex.join(["cdmi-attach", *map(str, words)])


def generation() -> int:
    """The number of a script's requests, taken when it begins: what comes from an earlier one later is refused.

    Milliseconds of the front-end's clock.
    """
    return time.time_ns() // 1_000_000


def attach(name: str, source: str, disk: Disk, number: int, *, lease_s: int = 0) -> str:
    """Attach, and print the link: again is the same. With `lease_s` for a while, unless it is confirmed, or used.

    What a disk of that number was before, and nobody uses, gives way: it was left by what failed, or broke off, or is
    of a time before the host was withdrawn.
    """
    asked = request(name, source, disk, number, lease_s=lease_s)
    again = f"{detach(name, number)} && {asked}"
    return f"{asked} || {{ s=$?; case $s in {FAILED}|{CONFLICT}) {again};; *) exit $s;; esac; }}"


def request(name: str, source: str, disk: Disk, number: int, *, lease_s: int = 0) -> str:
    """What asks for it."""
    words: list[object] = ["--name", name, *(["--lease", lease_s] if lease_s else [])]
    words += ["--ro"] if disk.read_only else ["--share"] if disk.shared else []
    return cdmi("attach", source, *words, "--generation", number)


def confirm(name: str, number: int) -> str:
    """Let what was attached for a while stay."""
    return cdmi("confirm", name, "--generation", number)


def detach(name: str, number: int) -> str:
    """Detach; that nothing is attached is success."""
    return cdmi("detach", name, "--generation", number)


def link(attached: str, place: Place) -> list[str]:
    """Attach, and let the disk of the VM be the daemon's link, which is the same on every host."""
    folder, disk = shlex.quote(place.folder), shlex.quote(place.path)
    return [f"link=$({attached})", f"mkdir -p {folder}", f'ln -sfn "$link" {disk}']


def unlink(place: Place) -> str:
    """Take the disk's link away, dangling or not; anything else that is there stays."""
    disk = shlex.quote(place.path)
    return f"if [ -L {disk} ]; then rm -f {disk}; fi"


def clone(source: str, destination: str, *, size_mb: int, note: Mapping[str, str]) -> str:
    """Copy on the server. Ends with `TAKEN` where something is at the destination."""
    words: list[object] = [source, destination]
    words += ["--size", size_mb << 20] if size_mb > 0 else []
    for name, value in note.items():
        words += ["--metadata", f"{name}={value}"]
    return patiently(cdmi("clone", *words), taken=True)


def create(new: str, size_mb: int, note: Mapping[str, str], *, kind: str) -> str:
    """Make an empty LUN (a container) or data object. Ends with `TAKEN` where something is there."""
    words: list[object] = ["create", new, "--size", size_mb << 20, "--kind", kind]
    for name, value in note.items():
        words += ["--metadata", f"{name}={value}"] if value else []
    return patiently(cdmi(*words), taken=True)


def delete(place: object, *words: str) -> str:
    """Delete; that there is nothing is success. Servers may take long to take a large object apart."""
    return patiently(cdmi("delete", place, *words), times=MINUTES)


def patiently(line: str, *, taken: bool = False, times: str = HOURS) -> str:
    """What takes a server long: asked for again while it is under way. With `taken`, a conflict is `TAKEN`."""
    ends = f"{CONFLICT}) exit {TAKEN};; " if taken else ""
    once = f"s=0; {line} >/dev/null || s=$?; case $s in 0) break;; {TIMEOUT}) ;; {ends}*) exit $s;; esac"
    return f"for try in {times}; do {once}; done; [ $s = 0 ] || exit $s"


def tolerate_missing(line: str) -> str:
    """The line; that there is no such thing is no failure."""
    return _instead(line, NOT_FOUND, ":")


def _instead(line: str, status: int, act: str) -> str:
    return f"{line} || {{ s=$?; if [ $s = {status} ]; then {act}; else exit $s; fi; }}"
