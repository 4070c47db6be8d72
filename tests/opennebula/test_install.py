"""`opennebula/install` on made-up machines: what it puts there, that it can be repeated, that nothing is left of it."""

from pathlib import Path

import pytest
from cdmi_one.setup.oned_conf import entries

from tests.opennebula.front_end import INSTALL, ME, ONED_6, ROOT, Machine

EVERYWHERE = pytest.mark.parametrize(("release", "home"), [("6", ""), ("7", ""), ("7", "/srv/one")])


def install(machine: Machine, *words: str) -> str:
    done = machine.run(*words)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def lists(machine: Machine) -> dict[str, str]:
    """ARGUMENTS of the drivers."""
    return {
        entry.name: entry.values["ARGUMENTS"]
        for entry in entries(machine.oned.read_text())
        if "ARGUMENTS" in entry.values
    }


@EVERYWHERE
def test_a_front_end_gets_all_of_it(tmp_path: Path, release: str, home: str) -> None:
    machine = Machine(tmp_path, release, home)
    said = install(machine, "--front-end")
    for name in ("ln", "clone", "mvds", "delete"):
        script = machine.remotes / "tm" / "cdmi" / name
        assert script.stat().st_mode & 0o777 == 0o755 and script.owner() == ME
    assert (machine.remotes / "lib" / "cdmi_one" / "main.py").stat().st_mode & 0o777 == 0o644
    assert machine.conf.read_bytes() == (ROOT / "opennebula/etc/tm/cdmi/cdmi.conf").read_bytes()
    assert (machine.etc / "cdmi" / "templates" / "image_datastore.tmpl").exists()
    told = {
        (entry.name, entry.values["NAME"]): entry.values
        for entry in entries(machine.oned.read_text())
        if "NAME" in entry.values
    }
    transfer, store = told["TM_MAD_CONF", "cdmi"], told["DS_MAD_CONF", "cdmi"]
    assert transfer["TM_MAD_SYSTEM"] == "ssh,shared,qcow2" and store["PERSISTENT_ONLY"] == "NO"
    for system in transfer["TM_MAD_SYSTEM"].upper().split(","):
        assert [transfer[f"{name}_{system}"] for name in ("LN_TARGET", "CLONE_TARGET", "DISK_TYPE")] == [
            *("NONE", "SELF", "BLOCK")
        ]
    transfers, stores = lists(machine)["TM_MAD"], lists(machine)["DATASTORE_MAD"]
    assert transfers.endswith(",iscsi_libvirt,cdmi") and ",rsync,cdmi -s shared," in stores
    assert "cdmi" not in stores.partition("-s ")[2], "no system datastore is of this driver"
    assert machine.oned.stat().st_mode & 0o777 == 0o640, "it has a password in it"
    live = [word for word in machine.execrc.read_text().replace('"', " ").split() if word.endswith("-cdmi")]
    assert live == (["kvm-cdmi", "qemu-cdmi"] if release == "6" else ["kvm-cdmi"])
    for shown in (
        f"write: {machine.remotes}/tm/cdmi/ (",
        f"change: {machine.oned}",
        "+TM_MAD_CONF = [",
        "next: restart oned",
        "onehost sync --force",
    ):
        assert shown in said


@EVERYWHERE
def test_again_is_nothing(tmp_path: Path, release: str, home: str) -> None:
    machine = Machine(tmp_path, release, home)
    install(machine, "--front-end", "--host")
    before = machine.files()
    assert "nothing to do" in install(machine, "--front-end", "--host")
    assert machine.files() == before


@EVERYWHERE
def test_nothing_is_left_of_it(tmp_path: Path, release: str, home: str) -> None:
    machine = Machine(tmp_path, release, home)
    before = machine.files()
    install(machine, "--front-end", "--host")
    assert machine.files() != before
    install(machine, "--front-end", "--host", "--uninstall")
    assert machine.files() == before
    assert not (machine.remotes / "lib").exists() and not (machine.etc / "cdmi").exists()
    assert "nothing to do" in install(machine, "--front-end", "--host", "--uninstall")


def test_edits_made_meanwhile_stay(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "6")
    install(machine, "--front-end")
    edited = machine.oned.read_text().replace("DEBUG_LEVEL = 3", "DEBUG_LEVEL = 5").replace(",cdmi -s", ",cdmi,mine -s")
    machine.put(machine.oned, edited, mode=0o640)
    assert "DEBUG_LEVEL" not in install(machine, "--front-end"), "an upgrade has nothing to change in it"
    install(machine, "--front-end", "--uninstall")
    assert machine.oned.read_text() == ONED_6.replace("= 3", "= 5").replace("rsync -s", "rsync,mine -s")


def test_settings_are_never_written_over(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.put(machine.conf, 'ALLOW="cdmi://cdmi.example.org/mine/"\n')
    install(machine, "--front-end")
    said = install(machine, "--front-end", "--uninstall")
    assert machine.conf.read_text() == 'ALLOW="cdmi://cdmi.example.org/mine/"\n' and "is kept" in said


def test_what_an_earlier_version_had_goes(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    install(machine, "--front-end")
    for name in ("tm/cdmi/renamed", "lib/cdmi_one/former.py"):
        machine.put(machine.remotes / name, "old\n")
    machine.put(machine.remotes / "tm/cdmi/ln", "broken\n", mode=0o600)
    assert f"remove: {machine.remotes}/tm/cdmi/renamed" in install(machine, "--front-end")
    assert not (machine.remotes / "lib/cdmi_one/former.py").exists()
    assert (machine.remotes / "tm/cdmi/ln").read_bytes() == (ROOT / "opennebula/tm/cdmi/ln").read_bytes()


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    before = machine.files()
    said = install(machine, "--front-end", "--host", "--dry-run")
    assert "+TM_MAD_CONF = [" in said and "run: usermod -aG cdmi-attach" in said
    assert machine.files() == before and not (tmp_path / "ran").exists()


def test_without_a_yes_nothing_is_changed(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    before = machine.files()
    done = machine.run("--front-end", yes=False)
    assert done.returncode == 3 and "--yes" in done.stderr
    assert machine.files() == before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (ONED_6.replace("TM_MAD = [\n", "TM_MADS = [\n"), "0 entries TM_MAD"),
        (ONED_6 + 'DATASTORE_MAD = [ ARGUMENTS = "-d x" ]\n', "2 entries DATASTORE_MAD"),
    ],
)
def test_what_it_does_not_know_it_leaves_alone(tmp_path: Path, text: str, says: str) -> None:
    machine = Machine(tmp_path, "6")
    machine.put(machine.oned, text)
    before = machine.files()
    done = machine.run("--front-end")
    assert done.returncode == 1 and says in done.stderr and "by hand" in done.stderr
    assert done.stderr.count("\n") == 1 and machine.files() == before


def test_a_machine_without_oned_is_no_front_end(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.oned.unlink()
    done = machine.run("--front-end")
    assert done.returncode == 1 and "--one-location" in done.stderr


def test_entries_written_by_hand_stay_as_they_are(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "6")
    mine = ONED_6.replace(',iscsi_libvirt"', ',cdmi"') + 'TM_MAD_CONF = [ NAME = "cdmi", SHARED = "YES" ]\n'
    machine.put(machine.oned, mine)
    install(machine, "--front-end")
    text = machine.oned.read_text()
    assert (
        text.count('NAME = "cdmi"') == 2 and "DS_MAD_CONF = [" in text and lists(machine)["TM_MAD"].count("cdmi") == 1
    )
    install(machine, "--front-end", "--uninstall")
    assert machine.oned.read_text() == mine


def test_a_host_serves_oneadmin(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    said = install(machine, "--host")
    assert machine.drop_in.read_text().splitlines()[1:3] == [
        "[attach]",
        f'device_owner = "{ME}:{machine.oned.group()}"',
    ]
    assert (tmp_path / "ran").read_text() == f"usermod -aG cdmi-attach {ME}\n"
    assert "ONE_ISCSI (iscsiadm, multipath, tee)" in said and "ONE_NET" not in said and "ONE_MIXED" not in said
    assert "nothing to do" in install(machine, "--host")
    install(machine, "--host", "--uninstall")
    assert (tmp_path / "ran").read_text().splitlines()[1:] == [f"gpasswd -d {ME} cdmi-attach"]


def test_what_the_host_s_administrator_has_said_counts(tmp_path: Path) -> None:
    """Another group, an owner of devices, a membership: none of it is taken away again."""
    machine = Machine(tmp_path)
    config = '[socket]\nadmins = "x"\ngroup = "disks"\n[attach]\ndevice_owner = "qemu:kvm"\n'
    machine.put(tmp_path / "etc" / "cdmi-attach" / "config.toml", config)
    machine.put(tmp_path / "etc" / "group", f"disks:x:7:{ME}\n")
    install(machine, "--host")
    assert "device_owner =" not in machine.drop_in.read_text() and not (tmp_path / "ran").exists()
    install(machine, "--host", "--uninstall")
    assert not machine.drop_in.exists() and not (tmp_path / "ran").exists()


def test_a_host_without_the_daemon_is_told_so(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.put(tmp_path / "etc" / "group", "root:x:0:\n")
    done = machine.run("--host")
    assert done.returncode == 1 and "there is no group cdmi-attach" in done.stderr and not machine.drop_in.exists()


def test_it_says_what_it_is_for(tmp_path: Path) -> None:
    assert Machine(tmp_path).run().returncode == 2
    assert INSTALL.stat().st_mode & 0o111


def test_an_edit_between_two_versions_is_not_lost(tmp_path: Path) -> None:
    """The bytes that are kept are those of the file as it was edited last, by whomever."""
    machine = Machine(tmp_path, "6")
    install(machine, "--front-end")
    mine = machine.oned.read_text().replace("DEBUG_LEVEL = 3", "DEBUG_LEVEL = 5")
    machine.put(machine.oned, mine.replace(",cdmi -s", " -s"), mode=0o640)
    install(machine, "--front-end")
    install(machine, "--front-end", "--uninstall")
    assert machine.oned.read_text() == ONED_6.replace("= 3", "= 5")


@pytest.mark.parametrize("program", ["install", "patch-stock"])
def test_a_python_that_is_too_old_is_told(tmp_path: Path, program: str) -> None:
    machine = Machine(tmp_path)
    machine.put(tmp_path / "bin" / "python3", "#!/bin/sh\nexit 1\n", mode=0o755)
    before = machine.files()
    done = machine.run("--front-end", program=ROOT / "opennebula" / program)
    assert done.returncode == 1 and "older than 3.9" in done.stderr and machine.files() == before
