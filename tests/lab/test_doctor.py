"""The doctor on a real host: each planted fault is found, and the command that it prints, run as printed, mends it."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lab.guest import Guest
from tests.lab.stage import Stage

STRAY = "iqn.2026-01.org.example:stray"
NODES = "/etc/iscsi/nodes"
MOST_REMEDIES = 3
"""A remedy may uncover the next thing: a group that was missing has no socket yet."""


@dataclass(frozen=True)
class Fault:
    """Something that bites: how it comes about, which check has to see it, and how the scene is put back."""

    name: str
    check: str
    plant: str
    level: str = "failure"
    clear: str = "true"


FAULTS = (
    Fault("a module that is kept out", "iscsi-module", "echo 'install iscsi_tcp /bin/false' > /etc/modprobe.d/no.conf"),
    Fault("iscsid is stopped", "iscsid", "systemctl stop iscsid.socket iscsid.service"),
    Fault("Debian's placeholder", "initiator-name", "echo GenerateName=yes > /etc/iscsi/initiatorname.iscsi"),
    Fault(
        "a name that may be a clone's",
        "initiator-name",
        "touch -d 2020-01-01 /etc/iscsi/initiatorname.iscsi",
        "warning",
    ),
    Fault("anybody may change the name", "initiator-file", "chmod 0666 /etc/iscsi/initiatorname.iscsi"),
    Fault(
        "a record without content",
        "node-records",
        f"mkdir -p {NODES}/{STRAY}/127.0.0.9,3260,1 && touch {NODES}/{STRAY}/127.0.0.9,3260,1/default",
        clear=f"rm -rf {NODES}/{STRAY}",
    ),
    Fault(
        "a record that the boot logs in to",
        "node-startup",
        f"iscsiadm -m node -T {STRAY} -p 127.0.0.9:3260 -o new && "
        f"iscsiadm -m node -T {STRAY} -p 127.0.0.9:3260 -o update -n node.startup -v automatic",
        "warning",
        clear=f"iscsiadm -m node -T {STRAY} -p 127.0.0.9:3260 -o delete",
    ),
    Fault(
        "the lock of a killed iscsiadm", "iscsi-lock", "mkdir -p /run/lock/iscsi && touch /run/lock/iscsi/lock.write"
    ),
    Fault("the udev rule is hidden", "udev-rule", "ln -s /dev/null /etc/udev/rules.d/10-cdmi-attach.rules"),
    Fault("a directory has gone", "directories", "rmdir /run/cdmi-attach/claim"),
    Fault("the daemon is stopped", "units", "systemctl stop cdmi-attachd.service"),
    Fault("a password that others read", "credentials", "chmod 0644 /etc/cdmi-attach/server.password"),
    Fault(
        "multipathd takes every disk",
        "multipath",
        "mkdir -p /etc/multipath && printf 'defaults {\\n find_multipaths no\\n}\\n' > /etc/multipath.conf && "
        "systemctl start multipathd.service",
        clear="systemctl stop multipathd.service multipathd.socket",
    ),
    # Last, since every later test has that group.
    Fault(
        "a group that is not there",
        "group",
        "sed -i 's/^group = .*/group = \"callers\"/' /etc/cdmi-attach/config.toml",
    ),
)


@pytest.fixture(scope="module")
def stage(guest: Guest) -> Stage:
    """A guest with the server and the configured daemon."""
    return Stage(guest).set()


def doctor(stage: Stage, *checks: str) -> dict[str, Any]:
    """What the doctor finds, by check."""
    answer = json.loads(stage.guest.run(["cdmi-attach", "doctor", "--json", *checks], check=False).stdout)
    return {finding.pop("check"): finding for finding in answer["checks"]}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_what_it_finds_its_remedy_mends(stage: Stage, fault: Fault) -> None:
    stage.guest.run(fault.plant)
    found = doctor(stage, fault.check)[fault.check]
    assert found["level"] == fault.level and found["says"] and found["means"], found
    for _ in range(MOST_REMEDIES):
        stage.guest.run(["bash", "-c", found["mend"]])
        if (found := doctor(stage, fault.check)[fault.check])["level"] == "ok":
            break
    assert found["level"] == "ok", found
    stage.guest.run(fault.clear)


def test_in_the_end_an_attach_works_and_the_doctor_finds_nothing(stage: Stage) -> None:
    found = doctor(stage)
    assert {name for name, finding in found.items() if finding["level"] == "failure"} == set(), found
    lun = stage.make_lun("healthy")
    stage.attach("healthy", lun.source)
    shown = stage.guest.run("cdmi-attach status healthy && cdmi-attach events healthy --no-follow").stdout
    assert "  via 127.0.0." in shown and "└─ steps " in shown and "  healthy  = attached\n" in shown, shown
    stage.detach("healthy")


def test_an_ordinary_user_is_told_what_was_not_looked_at(stage: Stage) -> None:
    line = "runuser -u nobody -- cdmi-attach doctor --json initiator-name group credentials config"
    done = stage.guest.run(line, check=False)
    found = {finding["check"]: finding for finding in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert found["group"]["level"] == "failure" and "usermod -aG callers nobody" in found["group"]["mend"]
    assert {found[name]["level"] for name in ("initiator-name", "config")} == {"unchecked"}


def test_a_server_that_is_away_is_named(stage: Stage) -> None:
    stage.guest.run("systemctl stop cdmi-server")
    found = doctor(stage, "servers")["servers"]
    assert found["level"] == "failure" and "https://127.0.0.1:8443/cdmi/: connection refused" in found["says"], found
