"""Records, logins and logouts over a tree of files: a shell script is iscsiadm, and sysfs says what came of it."""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.host import iscsiadm, linux_iscsi, node_db
from agent.host.multipathd import Multipathd
from agent.host.roots import Roots
from agent.host.tools import Tools
from agent.host.uevents import Changes
from agent.workers.pool import Abandoned
from attachers.base import MadeByAnotherError
from attachers.problems import Code, Problem
from attachers.steps import CreateRecord, DeleteRecord, Login, Logout
from tests.unit.linux_tree import PORTAL, TARGET, add_session, roots_in
from tests.unit.test_linux_chap import CONFIG, SERVER
from tests.unit.test_node_db import FRESH

SOON_S = 20.0
SCRIPT = """#!/bin/sh
cd {0}
echo "$@" >> asked
. ./$(wc -l < asked)
"""
LOGIN, LOGOUT, CREATE = Login(TARGET, PORTAL), Logout(TARGET, PORTAL), CreateRecord(TARGET, PORTAL)
APPEARS, GOES = "mv hidden session1", "mv session1 hidden"


class NoPool:
    """No worker is asked for anything here."""


@dataclass
class Stage:
    """A host with a record; `asked` are the command lines so far."""

    roots: Roots
    tools: Tools
    folder: Path
    calls: int = field(default=0)

    def answers(self, *scripts: str) -> None:
        """What the next calls do, in a folder with the session (session1, hidden) and the record's folder (nodes)."""
        for script in scripts:
            self.calls += 1
            (self.folder / str(self.calls)).write_text(f"{script}\n")

    @property
    def asked(self) -> list[str]:
        """What iscsiadm was called with."""
        path = self.folder / "asked"
        return path.read_text().splitlines() if path.exists() else []

    def deadline(self) -> float:
        return time.monotonic() + SOON_S

    async def log_in(self, step: Login = LOGIN) -> None:
        await linux_iscsi.log_in(self.tools, step, self.deadline())

    async def log_out(self, step: Logout = LOGOUT) -> None:
        await linux_iscsi.log_out(self.tools, step, self.deadline())

    async def create(self, step: CreateRecord = CREATE) -> None:
        await linux_iscsi.create_record(self.tools, step, self.deadline())

    def record(self) -> dict[str, str]:
        (file,) = node_db.files(self.roots, TARGET, PORTAL)
        return node_db.settings(file)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A session that is hidden, and a record as `-o new` makes it."""
    monkeypatch.setattr(linux_iscsi, "LATE_S", 0.5)
    monkeypatch.setattr(linux_iscsi, "PAUSE_S", 0.05)
    roots = roots_in(tmp_path)
    add_session(roots)
    folder = roots.sys / "class/iscsi_session"
    (folder / "session1").rename(folder / "hidden")
    script = tmp_path / "bin/iscsiadm"
    script.parent.mkdir()
    script.write_text(SCRIPT.format(folder))
    script.chmod(0o755)
    record = roots.etc / "iscsi/nodes" / TARGET / "10.0.0.1,3260"
    record.parent.mkdir(parents=True)
    record.write_text(FRESH)
    changes = Changes()
    runner = iscsiadm.Iscsiadm(roots, path=f"{script.parent}:/usr/bin:/bin")
    tools = Tools(roots, NoPool(), changes, runner, Multipathd(roots))  # type: ignore[arg-type]
    return Stage(roots, tools, folder)


def stands(stage: Stage) -> None:
    """The session is there."""
    (stage.folder / "hidden").rename(stage.folder / "session1")


@pytest.mark.parametrize(
    ("calls", "outcome"),
    [
        ([f"{APPEARS}; exit 0"], None),
        ([f"{APPEARS}; exit 6"], None),
        (["exit 6", f"{APPEARS}; exit 0"], None),
        (["exit 6"] * 3, Code.UNAVAILABLE),
        (["exit 29", f"{APPEARS}; exit 0"], None),
        (["exit 29"] * 3, Code.UNAVAILABLE),
        (["echo 'initiator reported error (24 - x)'; exit 6"], Code.TARGET_REFUSED),
        (["echo 'initiator reported error (8 - x)'; exit 7"], Code.TARGET_TIMEOUT),
        (["exit 8"], Code.TARGET_TIMEOUT),
        (["exit 19"], Code.TARGET_REFUSED),
        (["exit 20"], Code.UNAVAILABLE),
        (["exit 21"], Code.UNAVAILABLE),
        (["exit 24"], Code.TARGET_REFUSED),
        (["exit 0"], Code.TARGET_TIMEOUT),
        (["exit 15"], Code.TARGET_TIMEOUT),
        (["kill -KILL $$"], Code.TARGET_REFUSED),
        ([f"(/bin/sleep 0.2; {APPEARS}) & kill -KILL $$"], None),
        ([f"(/bin/sleep 0.2; {APPEARS}) & exit 0"], None),
    ],
)
async def test_a_login_is_what_sysfs_shows_and_else_what_its_exit_code_says(
    stage: Stage, calls: list[str], outcome: Code | None
) -> None:
    """Cases 20, 21, 24, 26 and 39: what is not the login's own fault is tried again, three times in all."""
    stage.answers(*calls)
    if outcome is None:
        await stage.log_in()
    else:
        with pytest.raises(Problem) as refused:
            await stage.log_in()
        assert refused.value.code is outcome
    assert stage.asked == [f"-m node -T {TARGET} -p {PORTAL} -l"] * len(calls)


@pytest.mark.parametrize("call", [f"{APPEARS}; exit 15", f"(/bin/sleep 0.2; {APPEARS}) & exit 15"])
async def test_15_is_success_and_the_session_somebody_elses(stage: Stage, call: str) -> None:
    """Case 19."""
    stage.answers(call)
    with pytest.raises(MadeByAnotherError):
        await stage.log_in()


async def test_a_login_that_nobody_waits_for_ends_with_iscsids_and_not_with_its_iscsiadm(stage: Stage) -> None:
    """Case 39."""
    stage.answers("/bin/sleep 0.5; kill -KILL $$")
    with pytest.raises(Abandoned) as late:
        await linux_iscsi.log_in(stage.tools, LOGIN, time.monotonic() + 0.2)
    began = time.monotonic()
    async with asyncio.timeout(SOON_S):
        await late.value.ended
    assert time.monotonic() - began > linux_iscsi.LATE_S, "the session may have come until then"


@pytest.mark.parametrize(
    ("calls", "outcome"),
    [
        ([f"{GOES}; exit 0"], None),
        ([f"{GOES}; exit 21"], None),
        (["exit 32", "exit 9", "exit 2", f"{GOES}; exit 0"], None),
        (["exit 6", f"{GOES}; exit 0"], None),
        (["exit 28"], Code.IN_USE),
        (["exit 10"], Code.TARGET_TIMEOUT),
        (["exit 21"], Code.UNAVAILABLE),
    ],
)
async def test_a_logout_is_what_sysfs_shows(stage: Stage, calls: list[str], outcome: Code | None) -> None:
    """Cases 21 and 31: asked for again while an iscsid that was begun anew is not ready for it."""
    stands(stage)
    stage.answers(*calls)
    if outcome is None:
        await stage.log_out()
    else:
        with pytest.raises(Problem) as refused:
            await stage.log_out()
        assert refused.value.code is outcome
    assert stage.asked == ["-m session -r 1 -u"] * len(calls)


async def test_a_logout_that_iscsid_is_never_ready_for_ends(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not asked again where there would be no time for its answer."""
    stands(stage)
    stage.answers(*["exit 32"] * 200)
    monkeypatch.setattr(linux_iscsi, "PAUSE_S", SOON_S)
    with pytest.raises(Problem) as refused:
        await linux_iscsi.log_out(stage.tools, LOGOUT, time.monotonic() + SOON_S)
    assert refused.value.code is Code.TARGET_TIMEOUT and len(stage.asked) == 1


async def test_of_two_sessions_to_a_portal_the_one_that_is_named_goes(stage: Stage) -> None:
    """Case 36."""
    stands(stage)
    add_session(stage.roots, 2, host=7)
    stage.answers(f"{GOES}; exit 0")
    with pytest.raises(Problem) as refused:
        await stage.log_out()
    assert refused.value.code is Code.CONFLICT
    await stage.log_out(Logout(TARGET, PORTAL, sid=1))
    assert stage.asked == ["-m session -r 1 -u"]
    await stage.log_out(Logout(TARGET, PORTAL, sid=1))


NEW = f"cp {{0}} '../../../etc/iscsi/nodes/{TARGET}/10.0.0.1,3260'"


@pytest.fixture
def fresh(tmp_path: Path) -> str:
    """What `-o new` does: a record with all the keys that we set."""
    keys = "".join(f"{key} = x\n" for key in iscsiadm.SETTINGS if key not in FRESH)
    (tmp_path / "fresh").write_text(FRESH.replace("# END", f"{keys}# END"))
    return NEW.format(tmp_path / "fresh")


async def test_a_record_gets_our_settings_by_one_process(stage: Stage, fresh: str) -> None:
    stage.answers(fresh)
    await stage.create()
    assert stage.asked == [f"-m node -T {TARGET} -p {PORTAL} -o new"]
    assert stage.record().items() >= iscsiadm.SETTINGS.items()
    assert not list(stage.roots.unfinished.iterdir())


async def test_chap_is_in_the_record_and_in_no_command_line_and_follows_a_changed_secret(
    stage: Stage, fresh: str
) -> None:
    """Case 40."""
    etc = stage.roots.etc / "cdmi-attach"
    etc.mkdir()
    (etc / "config.toml").write_text(CONFIG.format(etc, ""))
    secret = etc / "out"
    secret.write_text("correct horse battery")
    secret.chmod(0o400)
    stage.answers(fresh, "exit 24", "exit 24")
    await stage.create(CreateRecord(TARGET, PORTAL, SERVER))
    assert stage.record()["node.session.auth.authmethod"] == "CHAP"
    assert stage.record()["node.session.auth.password"] == "correct horse battery"
    secret.chmod(0o600)
    secret.write_text("another")
    for _ in range(2):
        with pytest.raises(Problem) as refused:
            await stage.log_in(Login(TARGET, PORTAL, SERVER))
        assert refused.value.final, "not to be tried anywhere else"
    assert stage.record()["node.session.auth.password"] == "another"
    assert not any("horse" in line or "another" in line for line in stage.asked)


async def test_without_its_secret_nothing_is_begun(stage: Stage) -> None:
    with pytest.raises(Problem) as refused:
        await stage.create(CreateRecord(TARGET, PORTAL, SERVER))
    assert refused.value.code is Code.UNSUPPORTED_ON_HOST
    assert stage.asked == [] and not stage.roots.unfinished.exists()


async def test_an_interface_has_to_be_there(stage: Stage, fresh: str) -> None:
    step = CreateRecord(TARGET, PORTAL, iface="storage")
    with pytest.raises(Problem) as refused:
        await stage.create(step)
    assert refused.value.code is Code.UNSUPPORTED_ON_HOST and "iscsiadm -m iface" in refused.value.hint
    (stage.roots.etc / "iscsi/ifaces").mkdir()
    (stage.roots.etc / "iscsi/ifaces/storage").touch()
    stage.answers(fresh)
    await stage.create(step)
    assert stage.asked == [f"-m node -T {TARGET} -p {PORTAL} -o new -I storage"]


async def test_a_discovered_form_beside_ours_goes_first(stage: Stage, fresh: str) -> None:
    """Case 29: with and without a tpgt, they are two records of one portal."""
    other = stage.roots.etc / "iscsi/nodes" / TARGET / "10.0.0.1,3260,1"
    other.mkdir()
    (other / "default").write_text(FRESH)
    stage.answers(f"rm -r '{other}'", f"mkdir -p '{other.parent}'; {fresh}")
    await stage.create()
    assert [line.split()[-1] for line in stage.asked] == ["delete", "new"]


async def test_a_record_goes_without_a_process(stage: Stage) -> None:
    await linux_iscsi.delete_record(stage.tools, DeleteRecord(TARGET, PORTAL), stage.deadline())
    assert stage.asked == [] and node_db.portals(stage.roots, TARGET) == ()
