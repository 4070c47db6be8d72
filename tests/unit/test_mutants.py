"""The planted bugs of `make mutants`: each finds the text that it replaces, so that none is skipped by a renaming."""

import pytest

from tests.engine.mutants import MUTANTS, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_finds_its_place(mutant: Mutant) -> None:
    assert (ROOT / mutant.file).read_text().count(mutant.right) == 1
