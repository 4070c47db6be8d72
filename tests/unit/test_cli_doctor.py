"""The doctor over a host of files and a table of commands: each thing that bites is found, and has its remedy."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.cli import doctor
from agent.cli.client import Failure
from agent.cli.doctor_host import TOO_LATE, UNITS, Done, Finding, Host, Level, run_command

NOW_S = 1_800_000_000.0
IQN = "iqn.1993-08.org.debian:01:2b5f0c"
RECORD = "etc/iscsi/nodes/iqn.2003-01.org.x:t1/10.0.0.1,3260,1/default"
V6_RECORD = "etc/iscsi/nodes/iqn.2003-01.org.x:t1/fd00::1,3260,1"
CONFIG = '[socket]\ngroup = "cdmi-attach"\n[[server]]\nurl = "https://s/cdmi/"\nca_file = "/ca.pem"\n'
PASSWORD = "etc/cdmi-attach/credentials/password"


@dataclass
class Commands:
    """What a healthy host's commands answer; `units` are those that are not active and enabled, `said` is the rest."""

    units: dict[str, str] = field(default_factory=dict)
    said: dict[str, Done] = field(default_factory=dict)

    def __call__(self, argv: Sequence[str]) -> Done:
        line = " ".join(argv)
        for start, done in self.said.items():
            if line.startswith(start):
                return done
        match argv:
            case ["systemctl", "show", _, "--", *names]:
                return Done(0, "\n\n".join(f"Id={name}\n{self._unit(name)}" for name in names))
            case ["getent", "group", "cdmi-attach" | "900"]:
                return Done(0, "cdmi-attach:x:900:alice,oneadmin\n")
            case ["getent", *_]:
                return Done(2)
            case ["cdmi-attachd", *_]:
                return Done(0, CONFIG, "OK\n")
            case ["iscsiadm", "--version"]:
                return Done(0, "", "iscsiadm version 2.1.8\n")
            case ["virsh", *_]:
                return Done(0, "9.0.0\n")
            case ["timedatectl", *_]:
                return Done(0, "yes\n")
            case ["modprobe", *_]:
                return Done(0)
            case _:
                return Done(127, "", f"{argv[0]}: not found")

    def _unit(self, name: str) -> str:
        default = "loaded inactive static" if name == "multipathd.service" else "loaded active enabled"
        load, active, file = self.units.get(name, default).split()
        return f"LoadState={load}\nActiveState={active}\nUnitFileState={file}"


@dataclass
class World:
    """A host on which everything is as it should be, until a test changes something."""

    root: Path
    commands: Commands = field(default_factory=Commands)
    wrong: str = ""
    answer: Any = None
    free: int = 1 << 30
    now_s: float = NOW_S
    uid: int = 0
    groups: frozenset[int] = frozenset()

    def write(self, name: str, text: str = "", *, mode: int = 0o644, mtime_s: float = NOW_S - 1000) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        os.utime(path, (mtime_s, mtime_s))

    def make(self) -> "World":
        for name in (
            "run/cdmi-attach/disk",
            "run/cdmi-attach/claim",
            "run/cdmi-attach/map",
            "proc/1",
            "var/lib",
            "sys",
            "etc",
        ):
            (self.root / name).mkdir(parents=True)
        (self.root / "run/cdmi-attach/mnt").mkdir(mode=0o711)
        self.write("etc/machine-id", "0" * 32)
        self.write("etc/iscsi/initiatorname.iscsi", f"## a comment\nInitiatorName={IQN}\n", mode=0o600)
        self.write(RECORD, "node.startup = manual\n")
        self.write("usr/lib/udev/rules.d/10-cdmi-attach.rules", "# /run/cdmi-attach/proved/\n")
        self.write("proc/1/comm", "systemd\n")
        self.write("etc/cdmi-attach/config.toml", f'{CONFIG}password_file = "/{PASSWORD}"\n')
        self.write(PASSWORD, "secret", mode=0o400)
        (self.root / PASSWORD).parent.chmod(0o700)
        return self

    def ask(self, route: str) -> dict[str, Any]:
        assert route == "/healthz"
        if isinstance(self.answer, Failure):
            raise self.answer
        return {"ok": True, "reasons": []}

    def host(self) -> Host:
        user = "root" if self.uid == 0 else "bob"
        return Host(
            self.root,
            self.commands,
            lambda url, ca_file: self.wrong.format(url=url, ca_file=ca_file),
            self.ask,
            lambda path: self.free,
            lambda uid: "cdmi-attach",
            self.now_s,
            self.uid,
            user,
            self.groups,
        )

    def finding(self, check: str) -> Finding:
        return doctor.examine(self.host(), [check])[check]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "root").make()


def test_a_healthy_host_has_nothing_to_mend(world: World) -> None:
    found = doctor.examine(world.host(), tuple(doctor.CHECKS))
    assert {name: finding for name, finding in found.items() if finding.level is not Level.OK} == {}
    assert doctor.summary(found) == "an attach has all that it needs here"
    assert all(not finding.mend for finding in found.values())


FILES = {
    "iscsi-module": ("etc/modprobe.d/x.conf", "# no\nblacklist iscsi_tcp\n", "failure", "&& modprobe iscsi_tcp"),
    "initiator-name": ("etc/iscsi/initiatorname.iscsi", "GenerateName=yes\n", "failure", "iscsi-iname"),
    "node-records": (RECORD, "", "failure", f"rm -rf -- /{RECORD.removesuffix('/default')}"),
    "node-startup": (
        V6_RECORD,
        "node.startup = automatic\n",
        "warning",
        "iscsiadm -m node -T iqn.2003-01.org.x:t1 -p '[fd00::1]:3260' -o update -n node.startup -v manual",
    ),
    "iscsi-lock": ("run/lock/iscsi/lock.write", "", "failure", "rm /run/lock/iscsi/lock.write"),
    "udev-rule": (
        "etc/udev/rules.d/10-cdmi-attach.rules",
        "",
        "failure",
        "rm /etc/udev/rules.d/10-cdmi-attach.rules && udevadm control --reload",
    ),
}


@pytest.mark.parametrize("check", FILES)
def test_files_that_bite(world: World, check: str) -> None:
    name, text, level, mend = FILES[check]
    world.write(name, text)
    finding = world.finding(check)
    assert (finding.level, mend in finding.mend, bool(finding.means)) == (level, True, True), finding


COMMANDS: list[tuple[str, str, Done, str, str]] = [
    ("iscsi-module", "modprobe", Done(1, "", "not found"), "failure", "apt-get install linux-image-amd64"),
    ("open-iscsi", "iscsiadm", Done(127), "failure", "apt-get install open-iscsi"),
    ("open-iscsi", "iscsiadm", Done(0, "iscsiadm version 2.1.10"), "failure", "--only-upgrade open-iscsi"),
    ("lvm", "lvmconfig", Done(0, 'global_filter=["a|.*|"]\nuse_devicesfile=0'), "warning", ', "a|.*|"\' >> /etc/lvm'),
    ("lvm", "lvmconfig", Done(0, 'global_filter="a|.*|"\n'), "warning", ">> /etc/lvm/lvmlocal.conf"),
    ("lvm", "lvmconfig", Done(0, 'global_filter=["r|^/dev/cdmi-attach/|"]'), "ok", ""),
    ("libvirt", "virsh --version", Done(127), "warning", "apt-get install libvirt-daemon-system"),
    ("libvirt", "virsh --readonly", Done(TOO_LATE), "failure", "systemctl restart virtqemud.service"),
    ("clock", "timedatectl", Done(0, "no\n"), "warning", "timedatectl set-ntp true"),
    ("clock", "timedatectl", Done(1), "unchecked", ""),
    ("config", "cdmi-attachd", Done(127), "failure", "make install"),
    ("config", "cdmi-attachd", Done(0, "[socket]\n"), "warning", "/etc/cdmi-attach/config.toml"),
    ("config", "cdmi-attachd", Done(1, "", "/etc/x.toml:7: attach.x: unknown key; y"), "failure", "+7 /etc/x.toml"),
    ("servers", "cdmi-attachd", Done(1), "unchecked", "cdmi-attachd --check-config"),
    ("servers", "cdmi-attachd", Done(0, "[socket]\n"), "unchecked", "config.toml"),
    ("group", "getent", Done(2), "failure", "groupadd --system cdmi-attach"),
    ("units", "systemctl", Done(1), "unchecked", ""),
]


@pytest.mark.parametrize(("check", "command", "done", "level", "mend"), COMMANDS)
def test_commands_that_bite(world: World, check: str, command: str, done: Done, level: str, mend: str) -> None:
    world.commands.said[command] = done
    finding = world.finding(check)
    assert (finding.level, mend in finding.mend) == (level, True), finding


STATES = [
    ("iscsid", {"iscsid.socket": "loaded inactive disabled"}, "ok", ""),
    ("iscsid", {"iscsid.service": "masked inactive masked"}, "failure", "systemctl unmask iscsid.service"),
    ("units", {"cdmi-attachd.socket": "loaded inactive disabled"}, "failure", "enable --now cdmi-attachd.socket"),
    ("units", {"cdmi-attachd.service": "loaded failed enabled"}, "failure", "restart cdmi-attachd.service"),
    ("units", {"cdmi-attachd.service": "loaded active disabled"}, "warning", "systemctl enable cdmi-attachd.service"),
    ("units", {"cdmi-attach-helperd.service": "masked inactive masked"}, "failure", "unmask cdmi-attach-helperd"),
    ("units", {"cdmi-attach-helperd.socket": "not-found inactive -"}, "failure", "make install"),
    (
        "libvirt",
        {"libvirtd.socket": "loaded inactive enabled", "virtqemud.socket": "not-found inactive -"},
        "failure",
        "systemctl start libvirtd.socket",
    ),
]


@pytest.mark.parametrize(("check", "units", "level", "mend"), STATES)
def test_units_that_bite(world: World, check: str, units: dict[str, str], level: str, mend: str) -> None:
    assert set(units) <= set(UNITS)
    world.commands.units = units
    finding = world.finding(check)
    assert (finding.level, mend in finding.mend) == (level, True), finding


def test_iscsid_and_its_socket_both_down(world: World) -> None:
    down = "loaded inactive disabled"
    world.commands.units = {"iscsid.socket": down, "iscsid.service": down}
    assert world.finding("iscsid").mend == "systemctl enable --now iscsid.socket"


LEAVES = 'blacklist {\n\tdevnode "!^(sd[a-z]|dasd[a-z]|nvme[0-9])"\n\twwid "^cdmi-attach-"\n}\n'


@pytest.mark.parametrize(
    ("settings", "level"),
    [
        ("find_multipaths strict", "ok"),
        ('find_multipaths "off"', "failure"),
        ("find_multipaths smart", "failure"),
        ('find_multipaths "yes"\n\tuser_friendly_names "yes"', "warning"),
        ("no_path_retry queue", "warning"),
        ('features "1 queue_if_no_path"', "warning"),
        ('features "1 queue_if_no_path"\n\tno_path_retry 12', "ok"),
        ("no_path_retry queue\n}\noverrides {\n\tno_path_retry fail", "ok"),
    ],
)
def test_multipathd_bites_by_its_settings_and_only_when_it_runs(world: World, settings: str, level: str) -> None:
    world.commands.said["multipathd"] = Done(0, f"defaults {{\n\t{settings}\n}}\n{LEAVES}")
    assert world.finding("multipath").level is Level.OK
    world.commands.units["multipathd.service"] = "loaded active enabled"
    finding = world.finding("multipath")
    assert finding.level == level and (level == "ok") == (not finding.mend)


def test_multipathd_has_to_run_where_maps_are_insisted_on(world: World) -> None:
    effective = f'{CONFIG}[attach]\nmultipath = "always"\n'
    world.commands.said["cdmi-attachd"] = Done(0, effective, "OK\n")
    finding = world.finding("multipath")
    assert finding.level is Level.FAILURE and "systemctl enable --now multipathd" in finding.mend


def test_a_rule_of_before_proofs(world: World) -> None:
    world.write("usr/lib/udev/rules.d/10-cdmi-attach.rules", "# an older one\n")
    finding = world.finding("udev-rule")
    assert finding.level is Level.FAILURE and "older version" in finding.says


@pytest.mark.parametrize(
    "text", ["", "InitiatorName=\n", "InitiatorName=host1\n", "#InitiatorName=iqn.1993-08.org.debian:01:x\n"]
)
def test_a_name_that_is_none(world: World, text: str) -> None:
    world.write("etc/iscsi/initiatorname.iscsi", text)
    assert world.finding("initiator-name").level is Level.FAILURE


def test_a_name_older_than_the_machine_may_be_a_clones(world: World) -> None:
    name = "etc/iscsi/initiatorname.iscsi"
    world.write(name, f"InitiatorName={IQN}\n", mtime_s=NOW_S - 90000)
    assert world.finding("initiator-name").level is Level.WARNING
    world.write(name, f"InitiatorName={IQN}\nInitiatorName={IQN}2\n")
    assert "2 names" in world.finding("initiator-name").says
    (world.root / name).unlink()
    assert "there is no" in world.finding("initiator-name").says


def test_modes_that_bite(world: World) -> None:
    for name, mode, check in (
        ("etc/iscsi/initiatorname.iscsi", 0o666, "initiator-file"),
        ("run/cdmi-attach/claim", 0o777, "directories"),
        (PASSWORD, 0o444, "credentials"),
    ):
        assert world.finding(check).level is Level.OK
        (world.root / name).chmod(mode)
        assert world.finding(check).level is Level.FAILURE
    (world.root / PASSWORD).unlink()
    assert world.finding("credentials").mend.startswith("install -m 0400 -o cdmi-attach")
    (world.root / PASSWORD).touch(mode=0o400)
    world.write("etc/cdmi-attach/config.toml", f'{CONFIG}chap = {{ user = "x", password_file = "/etc/chap" }}\n')
    assert world.finding("credentials").mend == "install -m 0400 -o root /dev/stdin /etc/chap"
    (world.root / PASSWORD).parent.chmod(0o755)
    assert world.finding("credentials").mend == "chmod 0700 /etc/cdmi-attach/credentials"
    (world.root / "run/cdmi-attach/claim").rmdir()
    assert world.finding("directories").mend == "systemd-tmpfiles --create cdmi-attach.conf"


def test_a_lock_that_is_held_is_no_fault(world: World) -> None:
    world.write("run/lock/iscsi/lock.write")
    world.write("proc/77/comm", "iscsiadm\n")
    assert world.finding("iscsi-lock").level is Level.OK


def test_records_in_both_of_their_forms(world: World) -> None:
    world.write(V6_RECORD, "node.startup = manual\n")
    assert world.finding("node-records").level is Level.OK
    (world.root / "etc/iscsi/nodes/iqn.2003-01.org.x:t2").mkdir()
    finding = world.finding("node-records")
    assert finding.mend == "rm -rf -- /etc/iscsi/nodes/iqn.2003-01.org.x:t2" and "has no portal" in finding.says


def test_a_key_that_iscsiadm_does_not_know_is_told_with_its_record(world: World) -> None:
    """Case 28."""
    said = "iSCSI ERROR: Unknown parameter name node.x  # 759\niSCSI ERROR: config file /etc/iscsi/n invalid. # 900\n"
    world.commands.said["iscsiadm -m node"] = Done(7, "", said)
    finding = world.finding("node-records")
    assert finding.level is Level.FAILURE
    assert finding.says == "/etc/iscsi/n has a key that this open-iscsi does not know: node.x"
    assert finding.mend.startswith("rm -- /etc/iscsi/n ")


def test_servers_room_and_time(world: World) -> None:
    world.wrong = "{url} and {ca_file} differ"
    finding = world.finding("servers")
    assert finding.says == "https://s/cdmi/: https://s/cdmi/ and /ca.pem differ"
    assert finding.mend == "curl -sv --cacert /ca.pem -o /dev/null https://s/cdmi/"
    for free, level in ((1 << 20, Level.FAILURE), (64 << 20, Level.WARNING)):
        world.free = free
        assert world.finding("disk-space").level is level
    world.now_s = 1000.0
    assert world.finding("clock").level is Level.FAILURE


def test_what_the_daemon_says_of_itself(world: World) -> None:
    for failure, words in (
        (Failure(3, "does not listen", "start it"), "systemctl start cdmi-attachd.socket"),
        (Failure(1, "status 503", "", {"ok": False, "reasons": ["the helper is away"]}), "cdmi-attach-helperd.service"),
        (Failure(6, "does not answer", ""), "systemctl restart cdmi-attachd.service"),
    ):
        world.answer = failure
        finding = world.finding("health")
        assert finding.level is Level.FAILURE and words in finding.mend


def test_who_may_call(world: World) -> None:
    world.uid = 1000
    assert world.finding("group").mend == "sudo usermod -aG cdmi-attach bob"
    world.groups = frozenset({900})
    assert world.finding("group").level is Level.OK
    world.groups = frozenset()
    world.commands.said["getent"] = Done(0, "cdmi-attach:x:900:alice,bob\n")
    assert world.finding("group").mend == "newgrp cdmi-attach"
    world.write("run/cdmi-attach/control.sock")
    os.chown(world.root / "run/cdmi-attach/control.sock", -1, os.getgid())
    assert "SocketGroup" in world.finding("group").mend
    world.commands.said["cdmi-attachd"] = Done(1, "", "x: [Errno 13] Permission denied: y")
    world.commands.said["getent"] = Done(0, f"callers:x:{os.getgid()}:\n")
    assert world.finding("config").level is Level.UNCHECKED
    assert world.finding("group").mend == "sudo usermod -aG callers bob", "the socket tells the group as well"


def test_what_may_not_be_read_is_unchecked(world: World) -> None:
    class Closed(Host):
        def text(self, name: str) -> str | None:
            raise PermissionError(13, "Permission denied", name)

    open_host = world.host()
    host = Closed(**{name: getattr(open_host, name) for name in open_host.__dataclass_fields__})
    found = doctor.examine(host, ["initiator-name", "iscsi-lock"])
    assert found["initiator-name"].level is Level.UNCHECKED


def test_findings_fit_a_terminal_and_cannot_drive_it(world: World) -> None:
    world.wrong = "no\x1b[2J" + " because" * 30
    world.commands.units = {"cdmi-attachd.socket": "loaded failed enabled"}
    found = doctor.examine(world.host(), ["servers", "units", "clock"])
    shown = doctor.text(found, colours=False)
    assert all(len(line) <= 80 for line in shown.splitlines() if " $ " not in line)
    assert "\x1b" not in shown and "no\\x1b[2J" in shown
    assert doctor.summary(found) == "2 failures"
    painted = doctor.text(found, colours=True)
    assert re.sub(r"\x1b\[\d+m", "", painted) == shown


def test_commands_are_run_as_they_are() -> None:
    assert run_command(["sh", "-c", "echo out; echo err >&2; exit 3"]) == Done(3, "out\n", "err\n")
    assert run_command(["there-is-no-such-command"]).status == 127
    assert len(run_command(["head", "-c", "200000", "/dev/zero"]).out) == 200000
    assert run_command(["cat"]) == Done(0), "nothing on stdin"
