"""What was edited in files that are not ours: the bytes before, and a sum of the bytes after, for the way back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cdmi_one.failure import Failure
from cdmi_one.setup.changes import Change, File
from cdmi_one.setup.places import Owner

Edit = Callable[[str], str]
"""From a file's text to another: raises `Failure`."""


@dataclass
class Record:
    """The record in a folder of ours: `after` are sums of files as we left them, by their paths."""

    folder: Path
    owner: Owner | None
    after: dict[str, str] = field(default_factory=dict)
    _backups: list[File] = field(default_factory=list)
    _edits: list[File] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "edited.json"

    def edit(self, path: Path, put: Edit, take: Edit) -> None:
        """Have an edit in a file that is not ours; nothing where it is there already. Raises `Failure`."""
        before = read(path)
        text = put(before)
        if text == before:
            return
        left = self.after.get(str(path))
        if left != _sum(before.encode()):
            original = before if left is None else take(before)
            self._backups.append(File(self._backup(path), original.encode(), mode=0o600, owner=self.owner))
        self.after[str(path)] = _sum(text.encode())
        self._edits.append(File(path, text.encode(), shown=True))

    def changes(self) -> list[Change]:
        """What `edit` was asked for: the bytes before are kept, and it is noted, before anything is changed."""
        if not self._edits:
            return []
        text = json.dumps({"after": self.after}, indent=2, sort_keys=True)
        return [*self._backups, File(self.file, f"{text}\n".encode(), owner=self.owner), *self._edits]

    def undone(self, path: Path, take: Edit) -> list[Change]:
        """The file as it was, byte by byte; where somebody has changed it since, without what we put into it."""
        if not path.exists():
            return []
        now, backup = read(path), self._backup(path)
        as_left = self.after.get(str(path)) == _sum(now.encode()) and backup.exists()
        text = read(backup) if as_left else take(now)
        return [] if text == now else [File(path, text.encode(), shown=True)]

    def _backup(self, path: Path) -> Path:
        return self.folder / "before" / str(path).lstrip("/").replace("/", "-")


def record_in(folder: Path, owner: Owner | None) -> Record:
    """The record of a folder; an empty one where there is none. Raises `Failure`."""
    record = Record(folder, owner)
    if record.file.exists():
        try:
            record.after.update(json.loads(read(record.file))["after"])
        except (ValueError, KeyError, TypeError):
            raise Failure(
                f"{record.file} cannot be read", "move it away: edits are then taken out one by one"
            ) from None
    return record


def read(path: Path) -> str:
    """The text of a file. Raises `Failure`."""
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{path} cannot be read: {error}", "run this as root") from None


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
