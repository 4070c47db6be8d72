"""A file, or what a web server has, becomes an image on the CDMI server: read by OpenNebula's own downloader.

Only from where `cdmi.conf` says (IMPORT_FROM): any user may name any PATH. An image is one when all of it is there, is
as large as what was read, and has its note; what breaks off before is deleted.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cdmi_one import commands
from cdmi_one.failure import Failure, one_line
from cdmi_one.hosts import reachable
from cdmi_one.remote import LONG_S, RemoteFailure, command_at, run, unpiped
from cdmi_one.settings import Settings

DOWNLOADER = Path(__file__).resolve().parents[2] / "datastore" / "downloader.sh"
PIECE = 1 << 20
LOAN_S = 600
"""What is attached to be written to goes by itself, once nobody writes: this script may be killed."""
QCOW2 = b"QFI\xfb"


def size_of(path: str, settings: Settings) -> int:
    """How many bytes it has, as it is there. Raises `Failure`."""
    where = _allowed(path, settings)
    try:
        if where.startswith("/"):
            return Path(where).stat().st_size
        with urllib.request.urlopen(urllib.request.Request(where, method="HEAD"), timeout=60) as answer:
            return int(answer.headers["Content-Length"])
    except (OSError, ValueError, TypeError) as error:
        raise Failure(f"nothing tells the size of {path}: {one_line(str(error))}", "look at PATH") from None


def imported(path: str, new: str, size_mb: int, note: Mapping[str, str], settings: Settings) -> None:
    """Make the image of what is at the path; `new` is its place. Raises `Failure`."""
    where, host = _allowed(path, settings), reachable(settings)
    source = subprocess.Popen([str(DOWNLOADER), where, "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert source.stdout
        first = source.stdout.read(PIECE)
        if first.startswith(QCOW2):
            raise Failure(f"{path} is qcow2, and images here are raw", "convert it: qemu-img convert -O raw")
        if settings.new_images == "lun":
            _into_lun(source, first, host, new, size_mb, note)
        else:
            _into_object(source, first, host, new, note)
    finally:
        source.kill()
        source.communicate()


def _into_object(source: subprocess.Popen[bytes], first: bytes, host: str, new: str, note: Mapping[str, str]) -> None:
    """A data object: what is there is never written over, and without its note it is no image yet."""
    _poured(source, first, host, commands.cdmi("put", "-", new))
    try:
        _insist(source)
        run(host, [commands.cdmi("set-metadata", new, *(f"{name}={value}" for name, value in note.items() if value))])
    except Failure:
        _undo(host, commands.cdmi("delete", new))
        raise


def _into_lun(
    source: subprocess.Popen[bytes], first: bytes, host: str, new: str, size_mb: int, note: Mapping[str, str]
) -> None:
    """A LUN, which this host attaches to write to it."""
    name = f"import-{new.rpartition('/')[2]}"
    made = commands.create(new, size_mb, note, kind="container")
    run(host, [made], limit_s=LONG_S)
    try:
        link = run(host, [commands.cdmi("attach", new, "--name", name, "--lease", LOAN_S)]).strip()
        _poured(source, first, host, f"dd of={shlex.quote(link)} bs=1M iflag=fullblock conv=notrunc,fsync status=none")
        _insist(source)
        run(host, [commands.cdmi("detach", name)])
    except Failure:
        _undo(host, commands.cdmi("detach", name), commands.cdmi("delete", new))
        raise


def _poured(source: subprocess.Popen[bytes], first: bytes, host: str, line: str) -> None:
    """Have a command of the host read all that the source gives. Raises `RemoteFailure`."""
    with unpiped() as said:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": said}
        sink = subprocess.Popen([*command_at(host), line], **pipes)  # type: ignore[call-overload]
        piece = first
        with suppress(BrokenPipeError):  # its own words tell why
            while piece:
                sink.stdin.write(piece)
                piece = source.stdout.read(PIECE) if source.stdout else b""
        sink.communicate()
        if sink.returncode:
            said.seek(0)
            why = _last(said.read().encode())
            raise RemoteFailure(sink.returncode, f"{host or 'the front-end'}: {why}", "see to it, and retry")


def _insist(source: subprocess.Popen[bytes]) -> None:
    """That the source has ended, and did not break off: who reads a pipe cannot tell. Raises `Failure`."""
    _, why = source.communicate()
    if source.returncode:
        raise Failure(f"it could not be read to its end: {_last(why)}", "look at PATH, and retry")


def _undo(host: str, *lines: str) -> None:
    """Delete what was begun, and is ours: what was said first counts."""
    with suppress(Failure):
        run(host, lines)


def _last(text: bytes) -> str:
    lines: Sequence[str] = text.decode(errors="replace").splitlines() or ["it said nothing"]
    return one_line(lines[-1]).removeprefix("cdmi-attach: ")


def _allowed(path: str, settings: Settings) -> str:
    """The path, once it is clear that it may be imported. Raises `Failure`."""
    where = os.path.realpath(path) if path.startswith("/") else path
    for start in settings.import_from:
        if where.startswith(start if start.endswith("/") else f"{start}/"):
            return where
    raise Failure(f"{path} may not be imported", "ask the administrator to name it in IMPORT_FROM of cdmi.conf")
