"""The pages that name tests name tests that there are."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = "\n".join(path.read_text() for path in sorted((ROOT / "tests").rglob("test_*.py")))


@pytest.mark.parametrize("page", ["docs/cdmi.md", "docs/opennebula.md"])
def test_the_tests_of_a_page_exist(page: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / page).read_text(encoding="utf-8")))
    assert named
    assert [name for name in sorted(named) if f"def {name}(" not in TESTS] == []
