"""Where each key of a TOML text is: `tomllib` keeps no line numbers, and an error without its line helps nobody."""

import bisect
import re
import tomllib

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_QUOTED = re.compile(r'"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'')
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{1,2}(?!"))?' r"|'''.*?'''(?:'{1,2}(?!'))?" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'",
    re.DOTALL,
)
_OTHER = re.compile(r"[^,\]}#\n]+")


def lines_of(text: str) -> dict[Path, int]:
    """The line (from 1) of every table, key and element of a text that `tomllib` accepted."""
    return _Scanner(text).scan()


def format_path(path: Path) -> str:
    """A path as people write it: `server[0].chap.user`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class _Scanner:
    """Walks a valid text once; every method starts at `_at` and leaves it behind what it read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        self._counts: dict[Path, int] = {}
        self._lines: dict[Path, int] = {}

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)
        return self._lines

    def _header(self) -> Path:
        line, is_array = self._line(), self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        keys = self._keys()
        self._at += 2 if is_array else 1
        path = self._resolve(keys[:-1]) + keys[-1:]
        if is_array:
            self._counts[path] = self._counts.get(path, 0) + 1
            self._lines.setdefault(path, line)
        for length in range(1, len(keys)):
            self._note(self._resolve(keys[:length]), line)
        return self._note(self._resolve(keys), line)

    def _resolve(self, keys: Path) -> Path:
        path: Path = ()
        for key in keys:
            path += (key,)
            if path in self._counts:
                path += (self._counts[path] - 1,)
        return path

    def _pair(self, table: Path) -> None:
        line, path = self._line(), table
        for key in self._keys():
            path = self._note((*path, key), line)
        self._at += 1  # the equals sign
        self._skip(_BLANK)
        self._value(path)

    def _keys(self) -> Path:
        keys: Path = ()
        while True:
            self._skip(_BLANK)
            quoted = _QUOTED.match(self._text, self._at)
            raw = self._take(_QUOTED if quoted else _BARE)
            keys += (tomllib.loads(f"key = {raw}")["key"] if quoted else raw,)
            self._skip(_BLANK)
            if self._text[self._at] != ".":
                return keys
            self._at += 1

    def _value(self, path: Path) -> None:
        match self._text[self._at]:
            case '"' | "'":
                self._take(_STRING)
            case "[":
                self._inside("]", path)
            case "{":
                self._inside("}", path)
            case _:
                self._take(_OTHER)

    def _inside(self, end: str, path: Path) -> None:
        self._at += 1
        index = 0
        self._skip(_BLANK)
        while self._text[self._at] != end:
            if self._text[self._at] == ",":
                self._at += 1
            elif end == "}":
                self._pair(path)
            else:
                self._value(self._note((*path, index), self._line()))
                index += 1
            self._skip(_BLANK)
        self._at += 1

    def _line(self) -> int:
        return bisect.bisect_left(self._newlines, self._at) + 1

    def _note(self, path: Path, line: int) -> Path:
        self._lines.setdefault(path, line)
        return path

    def _skip(self, pattern: re.Pattern[str]) -> None:
        if match := pattern.match(self._text, self._at):
            self._at = match.end()

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:  # pragma: no cover  (the text was accepted by tomllib)
            raise ValueError(f"cannot scan line {self._line()}")
        self._at = match.end()
        return match.group()
