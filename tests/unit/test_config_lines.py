"""The scanner: the line of every key, however the TOML is written."""

import tomllib
from typing import Any

import pytest

from agent.config_lines import Path, format_path, lines_of

TEXT = '''\
# a comment with [brackets] and "quotes
top = 1
dotted.key.deep = "x # no comment"   # a comment
"quoted key" . 'other' = 2

[table]
string = """
[not.a.table]
key = "no"
""""
literal = \'\'\'
[nor this]\'\'\'
escaped = "a \\"quoted\\" word"
when = 1979-05-27 07:32:00Z
list = [
  1, # one
  "two, three", [ 4,
  5 ],
]
inline = { a = 1, b.c = [ { d = 1 },
                          { e = 2 } ] }
[table.sub]
x = -0.5e3
[[many]]
name = 1
[many.inner]
y = 2
[[many]]
[[many.deep]]
z = 3
[[many.deep]]
z = 4
[ "sp ace" . t ]
last = true'''

LINES: dict[Path, int] = {
    ("top",): 2,
    ("dotted",): 3,
    ("dotted", "key", "deep"): 3,
    ("quoted key", "other"): 4,
    ("table",): 6,
    ("table", "string"): 7,
    ("table", "literal"): 11,
    ("table", "escaped"): 13,
    ("table", "when"): 14,
    ("table", "list"): 15,
    ("table", "list", 0): 16,
    ("table", "list", 1): 17,
    ("table", "list", 2, 1): 18,
    ("table", "inline", "b", "c", 0, "d"): 20,
    ("table", "inline", "b", "c", 1, "e"): 21,
    ("table", "sub", "x"): 23,
    ("many",): 24,
    ("many", 0, "name"): 25,
    ("many", 0, "inner"): 26,
    ("many", 0, "inner", "y"): 27,
    ("many", 1): 28,
    ("many", 1, "deep", 0, "z"): 30,
    ("many", 1, "deep", 1): 31,
    ("many", 1, "deep", 1, "z"): 32,
    ("sp ace", "t", "last"): 34,
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_each_key_has_its_line(newline: str) -> None:
    found = lines_of(TEXT.replace("\n", newline))
    assert {path: found.get(path) for path in LINES} == LINES


def test_the_scanner_finds_just_what_tomllib_finds() -> None:
    assert set(lines_of(TEXT)) == set(_paths(tomllib.loads(TEXT), ()))


def _paths(value: Any, path: Path) -> list[Path]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return ([path] if path else []) + [found for key, inner in items for found in _paths(inner, (*path, key))]


def test_nothing_and_comments_alone() -> None:
    assert lines_of("") == lines_of("# x\n\n") == {}


def test_paths_are_written_as_people_write_them() -> None:
    assert format_path(("server", 0, "chap", "user")) == "server[0].chap.user"
