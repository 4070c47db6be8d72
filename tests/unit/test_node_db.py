"""iscsid's database as files: what is found in it, what is written into a record, what is removed, and how."""

import stat
from pathlib import Path

import pytest

from agent.host import iscsiadm, node_db
from agent.host.roots import Roots
from attachers.problems import Code, Problem
from tests.unit.linux_tree import roots_in

TARGET, PORTAL = "iqn.2026-01.org.example:t", "10.0.0.1:3260"
FRESH = """# BEGIN RECORD 2.1.8
node.name = iqn.2026-01.org.example:t
node.startup = automatic
node.session.auth.authmethod = None
node.session.scan = auto
node.conn[0].address = 10.0.0.1
# END RECORD
"""
OURS = {"node.startup": "manual", "node.session.scan": "manual"}
CHAP = {f"node.session.auth.{key}": value for key, value in (("authmethod", "CHAP"), ("password", "s3cret = #1"))}


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    return roots_in(tmp_path)


@pytest.fixture
def record(roots: Roots) -> Path:
    """A record as `iscsiadm -o new` makes it."""
    path = roots.etc / "iscsi/nodes" / TARGET / "10.0.0.1,3260"
    path.parent.mkdir(parents=True)
    path.write_text(FRESH)
    return path


def test_settings_are_written_and_nothing_else_is_changed(roots: Roots, record: Path) -> None:
    before = node_db.settings(record)
    node_db.write(roots, TARGET, PORTAL, OURS, auth=False)
    assert node_db.settings(record) == before | OURS
    assert record.read_text().startswith("# BEGIN RECORD") and record.read_text().endswith("# END RECORD\n")


def test_secrets_are_written_for_root_alone_and_whole_at_once(roots: Roots, record: Path) -> None:
    """Case 40: into the file, never through a command line."""
    record.chmod(0o644)
    inode = record.stat().st_ino
    node_db.write(roots, TARGET, PORTAL, OURS | CHAP, auth=True)
    assert node_db.settings(record)["node.session.auth.password"] == "s3cret = #1"
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert record.stat().st_ino != inode, "another file has taken its place: no reader sees half of it"
    assert [path.name for path in (roots.etc / "iscsi").iterdir()] == ["nodes"], (
        "nothing lies around where it was written"
    )
    node_db.write(roots, TARGET, PORTAL, CHAP | {"node.session.auth.password": "other"}, auth=True)
    assert "s3cret" not in record.read_text()


def test_what_iscsid_conf_says_of_logins_gives_way_to_the_servers_chap(roots: Roots, record: Path) -> None:
    record.write_text(
        FRESH.replace("# END", "node.session.auth.username_in = x\nnode.session.auth.password_in = y\n# END")
    )
    node_db.write(roots, TARGET, PORTAL, OURS, auth=False)
    assert node_db.settings(record)["node.session.auth.password_in"] == "y"
    node_db.write(roots, TARGET, PORTAL, OURS | CHAP, auth=True)
    assert "node.session.auth.username_in" not in node_db.settings(record)


def test_an_unknown_key_is_never_written(roots: Roots, record: Path) -> None:
    """It would make the whole database unreadable to iscsiadm (case 28)."""
    with pytest.raises(Problem) as refused:
        node_db.write(roots, TARGET, PORTAL, {"node.session.new_one": "1"}, auth=False)
    assert refused.value.code is Code.UNSUPPORTED_ON_HOST and "node.session.new_one" in refused.value.detail
    assert record.read_text() == FRESH


def test_a_record_that_is_gone_is_not_made_of_nothing(roots: Roots) -> None:
    with pytest.raises(Problem) as refused:
        node_db.write(roots, TARGET, PORTAL, OURS, auth=False)
    assert refused.value.code is Code.UNAVAILABLE


@pytest.mark.parametrize(
    ("content", "flaw"),
    [("", "it is empty"), (FRESH, "every LUN"), (FRESH.replace("= auto\n", "= manual\n"), "")],
)
def test_records_that_no_login_is_made_with(roots: Roots, record: Path, content: str, flaw: str) -> None:
    """Case 10: a login with an automatic scan would bring every LUN of the target to this host."""
    record.write_text(content)
    found = node_db.flaw(roots, TARGET, PORTAL)
    assert flaw in found and bool(flaw) == bool(found)


def test_the_self_check_finds_what_nobody_can_use(roots: Roots, record: Path) -> None:
    """Case 27."""
    nodes = record.parent.parent
    (nodes / TARGET / ",3260,-1").mkdir()
    (nodes / TARGET / ",3260,-1/default").touch()
    (nodes / "iqn.2026-01.org.example:u/10.0.0.1,3260,1").mkdir(parents=True)
    (nodes / "iqn.2026-01.org.example:v").mkdir()
    (nodes / "iqn.2026-01.org.example:v/fd00::1,3260").touch()
    found = {(one.target[-1], one.portal, one.why) for one in node_db.broken(roots)}
    assert found == {
        ("t", None, "has no address"),
        ("u", PORTAL, "has no file in it"),
        ("v", "[fd00::1]:3260", "is empty"),
    }


@pytest.mark.parametrize("entry", ["10.0.0.1,3260", "10.0.0.1,3260,1/default", "10.0.0.1,3260,-1/", ",3260,-1/default"])
def test_what_a_killed_iscsiadm_left_of_a_record_is_removed(roots: Roots, entry: str) -> None:
    nodes = roots.etc / "iscsi/nodes" / TARGET
    path = nodes / entry
    if entry.endswith("/"):
        path.mkdir(parents=True)
    else:
        path.parent.mkdir(parents=True)
        path.touch()
    (nodes / "10.0.0.2,3260").write_text("node.name = somebody's\n")
    node_db.drop_broken(roots, TARGET, PORTAL, only_empty=True)
    assert node_db.portals(roots, TARGET) == ("10.0.0.2:3260",), "the other record stays"
    assert [path.name for path in nodes.iterdir()] == ["10.0.0.2,3260"]
    (nodes / "10.0.0.2,3260").unlink()
    node_db.drop_broken(roots, TARGET, PORTAL)
    assert not nodes.exists(), "nor is the target's empty directory left"


def test_a_record_with_anything_in_it_is_dropped_only_when_iscsiadm_has_refused_it(roots: Roots, record: Path) -> None:
    record.write_text("node.na")
    node_db.drop_broken(roots, TARGET, PORTAL, only_empty=True)
    assert record.exists()
    node_db.drop_broken(roots, TARGET, PORTAL)
    assert not record.exists()


def test_a_record_is_removed_with_its_directory_and_a_discovered_one_is_left_to_iscsiadm(
    roots: Roots, record: Path
) -> None:
    (record.parent / "10.0.0.2,3260").touch()
    assert node_db.remove(roots, TARGET, PORTAL)
    assert [path.name for path in record.parent.iterdir()] == ["10.0.0.2,3260"]
    assert node_db.remove(roots, TARGET, "10.0.0.2:3260")
    assert not record.parent.exists()
    discovered = record.parent / "10.0.0.1,3260,1"
    discovered.mkdir(parents=True)
    (discovered / "default").write_text(FRESH)
    assert node_db.is_discovered(roots, TARGET, PORTAL)
    assert not node_db.remove(roots, TARGET, PORTAL), "it has links in send_targets"
    assert node_db.files(roots, TARGET, PORTAL) == [discovered / "default"]


def test_a_record_that_makes_several_sessions_is_not_used_and_ours_makes_one(roots: Roots, record: Path) -> None:
    """Case 78: iscsid.conf says so for every record; a record without the key is of an open-iscsi that makes one."""
    record.write_text(FRESH.replace("# END", "node.session.nr_sessions = 4\n# END").replace("automatic", "manual"))
    node_db.write(roots, TARGET, PORTAL, {node_db.SCAN: "manual"}, auth=False)
    assert "nr_sessions" in node_db.flaw(roots, TARGET, PORTAL)
    node_db.write(roots, TARGET, PORTAL, {node_db.SESSIONS: "1"}, auth=False)
    assert node_db.settings(record)[node_db.SESSIONS] == "1" and not node_db.flaw(roots, TARGET, PORTAL)
    record.write_text(FRESH)
    node_db.write(roots, TARGET, PORTAL, {node_db.SCAN: "manual", node_db.SESSIONS: "1"}, auth=False)
    assert node_db.SESSIONS not in node_db.settings(record)


HARMFUL = {
    "node.startup": ("onboot", "manual"),
    "node.leading_login": ("Yes", "No"),
    "node.session.scan": ("auto", "manual"),
    "node.session.nr_sessions": ("4", "1"),
    "node.session.reopen_max": ("3", "0"),
    "node.session.initial_login_retry_max": ("60", "1"),
    "node.conn[0].timeo.login_timeout": ("600", "10"),
}
LEFT = {
    "node.session.timeo.replacement_timeout": "5",
    "node.conn[0].timeo.noop_out_interval": "0",
    "node.conn[0].timeo.noop_out_timeout": "30",
    "iface.iscsi_ifacename": "storage",
}


def test_a_record_of_ours_says_all_that_we_depend_on_whatever_iscsid_conf_does(roots: Roots, record: Path) -> None:
    """Case 78. How long I/O may wait for a portal, and by which interface, is the administrator's to say."""
    said = {key: theirs for key, (theirs, _) in HARMFUL.items()} | LEFT
    record.write_text("# BEGIN RECORD 2.1.8\n" + "".join(f"{k} = {v}\n" for k, v in said.items()) + "# END RECORD\n")
    node_db.write(roots, TARGET, PORTAL, iscsiadm.SETTINGS, auth=False)
    assert node_db.settings(record) == {key: ours for key, (_, ours) in HARMFUL.items()} | LEFT
