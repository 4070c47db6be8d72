"""The planted bugs of `make mutants`: each finds the text that it replaces, so that none is skipped by a renaming."""

import pytest

from tests.engine.mutants import MUTANTS, Mutant
from tests.engine.mutants_found_by import FOUND_BY
from tests.engine.planting import ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_finds_its_place(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text()
    assert text.count(mutant.right) == 1
    if mutant.file.endswith(".py"):
        compile(text.replace(mutant.right, mutant.wrong), mutant.file, "exec")  # what cannot be loaded is found by all


@pytest.mark.parametrize(("name", "test"), FOUND_BY.items(), ids=FOUND_BY)
def test_who_finds_it_is_there(name: str, test: str) -> None:
    path, _, function = test.partition("::")
    assert name in {mutant.name for mutant in MUTANTS}
    assert f"def {function}(" in (ROOT / path).read_text()


def test_it_is_known_who_finds_each() -> None:
    """Else all tests are asked, one planted bug after the other, for hours."""
    assert {mutant.name for mutant in MUTANTS} == FOUND_BY.keys()
