"""Data objects as files: the tree below each container that is exported over NFS, made of hard links to the values."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.cdmi_server.nfs import PATH
from tests.cdmi_server.records import Kind, Record
from tests.cdmi_server.store import Store


def show(store: Store, root: Path) -> None:
    """Let the directories that containers are exported as (those below `root`) have just what the objects are.

    Whoever exports them, and at which address, is not for this server to say. A value that is written as a whole is
    another file from then on, as it is on servers that keep versions.
    """
    wanted = {path: file for record in store.everything() for path, file in _tree(store, record, root)}
    for path in sorted(_files(root) - wanted.keys()):
        path.unlink()
        for directory in path.parents:
            if directory == root:
                break
            with suppress(OSError):
                directory.rmdir()
    for path, file in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (path.exists() and path.samefile(file)):
            path.unlink(missing_ok=True)
            os.link(file, path)


def _tree(store: Store, record: Record, root: Path) -> Iterator[tuple[Path, Path]]:
    """The files below one exported container, each with the value behind it."""
    where = Path(str(record.metadata.get(PATH, "")).rpartition(":")[2])
    if record.kind is Kind.CONTAINER and root in where.parents:
        yield from _below(store, record, where)


def _below(store: Store, record: Record, at: Path) -> Iterator[tuple[Path, Path]]:
    for child in store.children(record):
        if child.kind is Kind.OBJECT and store.value_file(child).exists():
            yield at / child.name, store.value_file(child)
        elif child.kind is Kind.CONTAINER and not child.volume:
            yield from _below(store, child, at / child.name)


def _files(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.is_file()}
