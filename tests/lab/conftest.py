"""Lab tests: guests as fixtures, what is kept when one fails, and when these tests run at all."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lab import console, fleet
from tests.lab.cache import CHECKOUT, LAB, locked, open_cache
from tests.lab.errors import LabError
from tests.lab.guest import UNENDED, Guest
from tests.lab.machine import running_pid

RELEASE = "bookworm"
EVIDENCE = {
    "journal.txt": "journalctl -b --no-pager",
    "dmesg.txt": "dmesg",
    "units.txt": "systemctl --no-pager --failed",
    "processes.txt": "ps -eo pid,ppid,stat,wchan:32,etimes,args",
}
NewGuest = Callable[[str], Guest]
OURS = pytest.StashKey[set[str]]()
"""Names of the guests of this test run."""
HUNG = pytest.StashKey[set[str]]()
"""Those of them that did not answer any more after a test failed: no other test waits for them."""
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
"""Which of several processes of a test run this is; each has guests of its own."""
ANSWER_S = 30.0
SHOWN = 6000


def pytest_configure(config: pytest.Config) -> None:
    config.stash[OURS] = set()
    config.stash[HUNG] = set()
    config.addinivalue_line("markers", "lab: needs a guest; runs when tests/lab, or -m lab, is asked for")
    config.addinivalue_line("markers", "lab_plain: this module's guests come without the project installed")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs a guest, and leave it out unless it was asked for."""
    for item in items:
        if LAB in item.path.parents and "new_guest" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.lab)
    if asked_for(config):
        return
    left_out = [item for item in items if item.get_closest_marker("lab")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def asked_for(config: pytest.Config) -> bool:
    """Was a path in tests/lab, or the marker, on the command line?"""
    paths = [(config.invocation_params.dir / arg.split("::")[0]).resolve() for arg in config.invocation_params.args]
    return "lab" in config.option.markexpr or any(LAB in (path, *path.parents) for path in paths)


@pytest.fixture(scope="session")
def lab_run() -> Iterator[None]:
    """One test run at a time has the guests of a cache; its processes are numbered alike in each run."""
    with locked(open_cache().root / f"pytest{WORKER}.lock", waiting_for="the test guests"):
        yield


@pytest.fixture(scope="module")
def new_guest(request: pytest.FixtureRequest, lab_run: None) -> Iterator[NewGuest]:
    """A function that brings up a fresh guest, by the role that its name tells; all end with the module."""
    cache = open_cache()
    plain = request.node.get_closest_marker("lab_plain") is not None
    with ExitStack() as stack:

        def bring_up(role: str) -> Guest:
            name = f"{role}-{WORKER}" if WORKER else role
            stack.callback(fleet.down, cache, name)
            stack.callback(request.config.stash[HUNG].discard, name)
            request.config.stash[OURS].add(name)
            guest = fleet.up(cache, name, RELEASE, base=plain)
            guest.run("sysctl -qw kernel.sysrq=1")
            return guest

        yield bring_up


@pytest.fixture(scope="module")
def guest(new_guest: NewGuest) -> Guest:
    """A fresh guest for this module."""
    return new_guest("test")


@pytest.fixture
def fresh_guest(new_guest: NewGuest) -> Guest:
    """A fresh guest for this test."""
    return new_guest("test-fresh")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if "guest" in getattr(item, "fixturenames", ()) or "stage" in getattr(item, "fixturenames", ()):
        for name in item.config.stash[HUNG]:
            pytest.fail(f"the guest {name} hangs since an earlier test, which says more", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and item.get_closest_marker("lab") and not item.config.stash[HUNG]:
        folder = CHECKOUT / "build" / "lab-failures" / re.sub(r"[^\w.-]+", "_", item.nodeid)
        hung = save_evidence(folder, item.config.stash[OURS])
        item.config.stash[HUNG] |= hung
        if hung or UNENDED in str(report.longrepr):
            report.sections += dumps(folder, item.config.stash[OURS])
        report.sections.append(("lab", f"journal, dmesg and console of the guests: {folder}"))
    return report


def dumps(folder: Path, names: set[str]) -> list[tuple[str, str]]:
    """What the kernels of these guests say on their consoles about what each processor does and what is blocked."""
    cache, found = open_cache(), []
    for name in (record.name for record in fleet.records(cache) if record.name in names):
        said = console.dumped(fleet.place_of(cache, name))
        (folder / name / "sysrq.txt").write_text(said)
        found.append((f"the kernel of {name}", said[-SHOWN:]))
    return found


def save_evidence(folder: Path, names: set[str]) -> set[str]:
    """Copy what the test guests have to say; never raises for a guest that is gone. Returns those that hang."""
    shutil.rmtree(folder, ignore_errors=True)
    cache, hung = open_cache(), set[str]()
    for record in (record for record in fleet.records(cache) if record.name in names):
        place = fleet.place_of(cache, record.name)
        target = folder / record.name
        target.mkdir(parents=True)
        try:
            running = fleet.find(cache, record.name)
            for name, command in EVIDENCE.items():
                (target / name).write_text(running.run(command, check=False, timeout_s=ANSWER_S).stdout)
        except LabError as error:
            print(f"{record.name}: {error}", file=sys.stderr)
            if running_pid(place):
                hung.add(record.name)
        for log in ("serial.log", "qemu.log", "ssh.log"):
            if (place.folder / log).exists():
                shutil.copy(place.folder / log, target)
    return hung
