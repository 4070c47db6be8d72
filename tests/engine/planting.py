"""Plants a bug in a copy of the tree, and looks whether the tests find it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.engine.mutant import Mutant
from tests.engine.mutants_found_by import FOUND_BY

ROOT = Path(__file__).resolve().parents[2]
SUITE = (
    "tests/unit/test_iscsi_decide.py",
    "tests/unit/test_iscsi_portals.py",
    "tests/unit/test_names_decide.py",
    "tests/unit/test_fc_decide.py",
    "tests/unit/test_confined.py",
    "tests/unit/test_linux_blocks.py",
    "tests/unit/test_nfs_removal.py",
    "tests/unit/test_under_way.py",
    "tests/unit/test_linux_maps.py",
    "tests/host/test_users.py",
    "tests/unit/test_guarded.py",
    "tests/unit/test_node_db.py",
    "tests/unit/test_cdmi_once.py",
    "tests/unit/test_cdmi_references.py",
    "tests/unit/test_cdmi_uploads.py",
    "tests/unit/test_cdmi_exporting.py",
    "tests/engine",
)
PARTS = ("agent", "attachers", "opennebula", "tests", "pyproject.toml")


def found(mutant: Mutant) -> bool:
    """Whether the engine's suite turns red with this bug in the code."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / part)
        path = copy / mutant.file
        text = path.read_text()
        if text.count(mutant.right) != 1:
            raise SystemExit(f"{mutant.name}: {mutant.file} has changed; bring tests/engine/mutants.py up to date")
        path.write_text(text.replace(mutant.right, mutant.wrong))
        return any(_turns_red(mutant, copy, tests) for tests in _suites(mutant))


def _suites(mutant: Mutant) -> Iterator[Sequence[str]]:
    """First the test that is known to find it, which takes seconds; all of them where that stays green."""
    if mutant.name in FOUND_BY:
        yield (FOUND_BY[mutant.name],)
    yield mutant.suite or SUITE


def _turns_red(mutant: Mutant, copy: Path, tests: Sequence[str]) -> bool:
    """Whether one of these tests finds the bug that is in the copy. Says so."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    everywhere = os.environ | {"CDMI_CRASHES": "all"}
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, env=everywhere)
    if done.returncode not in (0, 1) and done.returncode > 0:  # a suite that is killed has found it as well
        raise SystemExit(f"{mutant.name}: the suite did not run:\n{done.stdout}{done.stderr}")
    first = next((line for line in done.stdout.splitlines() if line.startswith("FAILED")), "")
    missed = "MISSED" if tests is (mutant.suite or SUITE) else "(stale)"
    print(f"{'found' if done.returncode else missed:7} {mutant.name}: {first[:120]}", flush=True)
    return done.returncode != 0
