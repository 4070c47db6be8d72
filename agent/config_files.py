"""Read a configuration file and its drop-ins into one tree of values that knows where each value came from."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.config_lines import Path as KeyPath
from agent.config_lines import format_path, lines_of


@dataclass(frozen=True, slots=True)
class Place:
    """A file and a line in it."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(slots=True)
class Document:
    """The merged values, the place of each, and every error found so far."""

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[KeyPath, Place] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def complain(self, path: KeyPath, what: str, remedy: str) -> None:
        """Note an error about one key: where it is, what is wrong, what to do."""
        self.errors.append(f"{self.place(path)}: {format_path(path)}: {what}; {remedy}")

    def place(self, path: KeyPath) -> str:
        """Where the key is, or the nearest table above it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.places:
                return str(self.places[path[:length]])
        return "configuration"


def read_files(path: Path) -> Document:
    """`path`, then `conf.d/*.toml` beside it by name: tables merge, arrays of tables append, later values win."""
    document = Document()
    drop_ins = _drop_ins(document, path.parent / "conf.d")
    if not drop_ins or path.exists():
        drop_ins.insert(0, path)
    for file in drop_ins:
        _read_file(document, file)
    return document


def _drop_ins(document: Document, folder: Path) -> list[Path]:
    """The files of a folder that need not be there; one that cannot be looked into is no folder without files."""
    try:
        return sorted(file for file in folder.iterdir() if file.name.endswith(".toml"))
    except FileNotFoundError:
        return []
    except OSError as error:
        document.errors.append(
            f"{folder}: cannot be read ({error.strerror}); make it a folder that we may read, or remove it"
        )
        return []


def _read_file(document: Document, file: Path) -> None:
    try:
        text = file.read_text("utf-8")
        values = tomllib.loads(text)
    except OSError as error:
        document.errors.append(f"{file}: cannot be read ({error.strerror}); create it, or make it readable to us")
    except UnicodeDecodeError:
        document.errors.append(f"{file}: is not UTF-8; save it as UTF-8")
    except tomllib.TOMLDecodeError as error:
        document.errors.append(_syntax_error(file, str(error)))
    else:
        places = {key: Place(str(file), line) for key, line in lines_of(text).items()}
        _merge(document, document.values, values, places, (), ())


def _syntax_error(file: Path, text: str) -> str:
    match = re.search(r"\(at (?:line (\d+), column (\d+)|end of document)\)", text)
    where = f":{match[1]}" if match and match[1] else ""
    what = text[: match.start()].strip() if match else text
    return f"{file}{where}: is not TOML ({what}); correct the syntax"


def _merge(
    document: Document,
    into: dict[str, Any],
    values: Mapping[str, Any],
    places: Mapping[KeyPath, Place],
    path: KeyPath,
    source: KeyPath,
) -> None:
    for key, value in values.items():
        old, here, there = into.get(key), (*path, key), (*source, key)
        if isinstance(old, dict) and isinstance(value, dict):
            _merge(document, old, value, places, here, there)
        elif isinstance(old, list) and _is_tables(old) and _is_tables(value):
            for index, item in enumerate(value):
                _move_places(document, places, (*here, len(old)), (*there, index))
                old.append(item)
        else:
            _move_places(document, places, here, there)
            into[key] = value


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _move_places(document: Document, places: Mapping[KeyPath, Place], path: KeyPath, source: KeyPath) -> None:
    for key, place in places.items():
        if key[: len(source)] == source:
            document.places[path + key[len(source) :]] = place
