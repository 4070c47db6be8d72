"""The table of failure modes: each of them once, in order, and every test that it names is there."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
TEXT = (TESTS.parent / "docs" / "failure-modes.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")] for line in TEXT.splitlines() if re.match(r"\| \d", line)
]
REAL = [*range(1, 4), 6, 7, *range(10, 14), 17, 20, 31, 35, 39, *range(42, 48), 51, 53, *range(56, 65), *range(73, 76)]
"""The numbers that only a real kernel can show: by a lab test, or by the host contract, which runs there as well."""
NAMED = sorted(set(re.findall(r"`(\w+/\w+\.py)::(\w+)`", TEXT)))


def test_all_of_them_are_there_in_order() -> None:
    assert [int(row[0].strip("| ")) for row in ROWS] == list(range(1, 106))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"case {row[0].strip('| ')}")
def test_each_is_shown_or_open_or_does_not_apply_and_says_why(row: list[str]) -> None:
    text = " | ".join(row)
    assert "::" in text or "*open*" in text or re.search(r"\*n/a\*: \w+", text)


@pytest.mark.parametrize("number", REAL)
def test_what_only_a_real_kernel_can_show_is_shown_there(number: int) -> None:
    assert re.search(r"`(lab|host)/", ROWS[number - 1][-1])


@pytest.mark.parametrize(("path", "name"), NAMED, ids=lambda part: part)
def test_every_test_that_is_named_exists(path: str, name: str) -> None:
    source = (TESTS / path).read_text()
    assert re.search(rf"^(async )?def {name}\(", source, re.MULTILINE), f"tests/{path} has no {name}"


def test_nothing_else_that_looks_like_a_test_is_named() -> None:
    assert len(re.findall("::", TEXT)) == len(re.findall(r"`\w+/\w+\.py::\w+`", TEXT))
