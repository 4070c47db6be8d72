"""Keep the objects: one JSON file and, where there are bytes, one value file for each."""

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.cdmi_server import objectid
from tests.cdmi_server.records import Kind, Record, from_json, now, to_json


def write_atomically(path: Path, text: str) -> None:
    """Put text into path so that a reader sees the old content or the new, never a part."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    Path(name).replace(path)


class Store:
    """The tree of objects below one state directory; all of its metadata is in memory."""

    def __init__(self, state: Path) -> None:
        self._records = state / "objects"
        self._values = state / "values"
        self._objects: dict[str, Record] = {}
        self._children: dict[str, dict[str, str]] = {}
        self._records.mkdir(parents=True, exist_ok=True)
        self._values.mkdir(exist_ok=True)
        for file in self._records.glob("*.json"):
            self._index(from_json(json.loads(file.read_text())))
        if not self._children.get(""):
            self.save(Record(objectid.new(), "", "", Kind.CONTAINER, now(), now()))

    @property
    def root(self) -> Record:
        """The root container."""
        return self._objects[self._children[""][""]]

    def get(self, object_id: str) -> Record | None:
        """Return the object with this ID (in any case), if there is one."""
        return self._objects.get(object_id.upper())

    def child(self, parent: Record, name: str) -> Record | None:
        """Return the child of that name, if there is one."""
        return self.get(self._children.get(parent.id, {}).get(name, ""))

    def children(self, parent: Record) -> list[Record]:
        """Return the children, sorted by name."""
        return [self._objects[child] for _, child in sorted(self._children.get(parent.id, {}).items())]

    def find(self, path: str) -> Record | None:
        """Return the object at a path such as /volumes/one/."""
        record: Record | None = self.root
        for name in filter(None, path.split("/")):
            record = self.child(record, name) if record else None
        return record

    def path(self, record: Record) -> str:
        """Return the object's path from the root; that of a container ends with a slash."""
        if not record.parent:
            return "/"
        return self.path(self._objects[record.parent]) + record.slashed

    def volumes(self) -> Iterator[Record]:
        """Yield the containers that are LUNs, in the order of their IDs."""
        return (record for _, record in sorted(self._objects.items()) if record.volume)

    def everything(self) -> list[Record]:
        """Return all objects, in the order of their IDs."""
        return [record for _, record in sorted(self._objects.items())]

    def save(self, record: Record) -> None:
        """Keep the record, new or changed."""
        write_atomically(self._records / f"{record.id}.json", json.dumps(to_json(record), indent=1))
        self._index(record)

    def touch(self, record: Record) -> None:
        """Note that the value was written now."""
        if current := self.get(record.id):
            self.save(replace(current, mtime=now()))

    def move(self, record: Record, parent: Record, name: str) -> Record:
        """Give the record another place; its ID and all that is below it stay. Returns it."""
        self._children[record.parent].pop(record.name)
        moved = replace(record, parent=parent.id, name=name)
        self.save(moved)
        return moved

    def remove(self, record: Record) -> None:
        """Forget the object, its value, and everything below it."""
        for child in self.children(record):
            self.remove(child)
        (self._records / f"{record.id}.json").unlink(missing_ok=True)
        self.value_file(record).unlink(missing_ok=True)
        self._objects.pop(record.id, None)
        self._children.pop(record.id, None)
        self._children.get(record.parent, {}).pop(record.name, None)

    def value_file(self, record: Record) -> Path:
        """Return where the object's bytes are: a data object's value, or a LUN's blocks."""
        return self._values / record.id

    def new_file(self) -> Path:
        """Return an empty file that may become a value by being renamed."""
        handle, name = tempfile.mkstemp(dir=self._values, prefix=".new.")
        os.close(handle)
        return Path(name)

    def _index(self, record: Record) -> None:
        self._objects[record.id] = record
        self._children.setdefault(record.parent, {})[record.name] = record.id
