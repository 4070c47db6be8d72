"""What an installation changes, as values: shown first, then done, each file by one rename."""

from __future__ import annotations

import difflib
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Union

from cdmi_one.failure import Failure, one_line
from cdmi_one.setup.places import Owner

NEW = ".cdmi-new"
COMMAND_S = 60.0


@dataclass(frozen=True)
class File:
    """A file as it is to be: these bytes, or a symbolic link. With neither it is to go.

    `shown`: it is somebody else's, who has to see the difference and to agree; it keeps its owner and mode.
    """

    path: Path
    data: bytes | None = None
    link: str = ""
    mode: int = 0o644
    owner: Owner | None = None
    shown: bool = False


@dataclass(frozen=True)
class Folder:
    """A folder of ours that is to go, with all that is in it."""

    path: Path


@dataclass(frozen=True)
class Command:
    """Something that has to be run."""

    words: tuple[str, ...]


Change = Union[File, Folder, Command]


def needed(changes: Iterable[Change]) -> list[Change]:
    """Those that change anything."""
    return [change for change in changes if not _is_so(change)]


def _is_so(change: Change) -> bool:
    if isinstance(change, Command):
        return False
    return not change.path.exists() if isinstance(change, Folder) else _is_as(change)


def _is_as(file: File) -> bool:
    path = file.path
    if path.is_symlink():
        return bool(file.link) and str(path.readlink()) == file.link
    if file.link or not path.exists():
        return not file.link and file.data is None and not path.exists()
    if file.data is None or path.read_bytes() != file.data:
        return False
    return file.shown or _has_rights(path.stat(), file)


def _has_rights(there: os.stat_result, file: File) -> bool:
    owner = file.owner or Owner(there.st_uid, there.st_gid)
    return there.st_mode & 0o7777 == file.mode and (there.st_uid, there.st_gid) == (owner.uid, owner.gid)


def lines_of(changes: Sequence[Change]) -> Iterator[str]:
    """What is about to be done, for whoever decides: a line each, and the difference of what is not ours.

    Of new files those of one folder share a line.
    """
    for folder, group in groupby(changes, _folder):
        these = list(group)
        if folder and len(these) > 1:
            yield f"write: {folder}/ ({len(these)} files)"
        else:
            for change in these:
                yield from _said(change)


def _folder(change: Change) -> str:
    is_new = isinstance(change, File) and not change.shown and (change.data is not None or change.link)
    return str(change.path.parent) if is_new and isinstance(change, File) else ""


def _said(change: Change) -> Iterator[str]:
    if isinstance(change, Command):
        yield f"run: {' '.join(change.words)}"
    elif isinstance(change, Folder):
        yield f"remove: {change.path}/"
    elif change.data is None and not change.link:
        yield f"remove: {change.path}"
    elif change.shown:
        yield f"change: {change.path}"
        yield from _difference(change)
    else:
        yield f"write: {change.path}"


def _difference(file: File) -> Iterator[str]:
    old, new = (data.decode("utf-8", "replace").splitlines() for data in (file.path.read_bytes(), file.data or b""))
    yield from difflib.unified_diff(old, new, str(file.path), f"{file.path} (new)", lineterm="", n=1)


def make(changes: Sequence[Change]) -> None:
    """Do them, in their order. Raises `Failure`; again is the same."""
    for change in changes:
        try:
            _make(change)
        except OSError as error:
            raise Failure(f"{getattr(change, 'path', change)}: {error.strerror}", "run this as root, again") from None


def _make(change: Change) -> None:
    if isinstance(change, Command):
        _run(change.words)
    elif isinstance(change, Folder):
        if change.path.is_dir():
            shutil.rmtree(change.path)
    elif change.data is None and not change.link:
        change.path.unlink(missing_ok=True)
    else:
        _write(change)


def _write(file: File) -> None:
    _make_folder(file.path.parent, file.owner)
    fresh = file.path.with_name(f".{file.path.name}{NEW}")
    fresh.unlink(missing_ok=True)
    if file.link:
        fresh.symlink_to(file.link)
        if file.owner:
            os.chown(fresh, file.owner.uid, file.owner.gid, follow_symlinks=False)
    else:
        _fill(fresh, file)
    fresh.replace(file.path)


def _fill(fresh: Path, file: File) -> None:
    mode, owner = file.mode, file.owner
    if file.shown:
        there = file.path.stat()
        mode, owner = there.st_mode & 0o7777, Owner(there.st_uid, there.st_gid)
    with os.fdopen(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as stream:
        stream.write(file.data or b"")
        if owner and os.geteuid() == 0:
            os.fchown(stream.fileno(), owner.uid, owner.gid)
        os.fchmod(stream.fileno(), mode)
        stream.flush()
        os.fsync(stream.fileno())


def _make_folder(path: Path, owner: Owner | None) -> None:
    if path.is_dir():
        return
    _make_folder(path.parent, owner)
    path.mkdir()
    path.chmod(0o755)
    if owner:
        os.chown(path, owner.uid, owner.gid)


def _run(words: tuple[str, ...]) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"{' '.join(words)}: {one_line(str(error))}", "run it by hand") from None
    if done.returncode:
        raise Failure(f"{' '.join(words)}: {one_line(done.stderr)}", "run it by hand")
