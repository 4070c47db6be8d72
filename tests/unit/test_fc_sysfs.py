"""What sysfs shows of Fibre Channel, as scsi_transport_fc.c lays it out; and the claims that outlast it."""

from pathlib import Path

import pytest

from agent.host import fc_sysfs, links, nexus
from agent.host.roots import Roots
from attachers.sights import LOGGED_IN, FcPort, FcQuery, Session
from tests.unit.linux_tree import TARGET, add_disk, add_session, link, roots_in, write

LOCAL, LOCAL_2 = "2000020000000010", "2000020000000012"
REMOTE, REMOTE_2 = "2000020000000011", "2000020000000013"
HCTL = "7:0:3:1"


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    return roots_in(tmp_path)


def add_port(roots: Roots, host: int = 7, wwpn: str = LOCAL, *, state: str = "Online") -> Path:
    """A local port; returns the directory of its SCSI host."""
    device = roots.sys / f"devices/pci0/host{host}"
    shown = device / f"fc_host/host{host}"
    write(shown / "port_name", f"0x{wwpn.upper()}")
    write(shown / "port_state", state)
    link(roots.sys / f"class/fc_host/host{host}", shown)
    return device


def add_remote(
    roots: Roots,
    port: Path,
    wwpn: str = REMOTE,
    *,
    number: int = 0,
    target_id: int = 3,
    state: str = "Online",
    roles: str = "FCP Target, FCP Initiator",
) -> Path:
    """A remote port seen from a local one; returns its directory."""
    host = port.name.removeprefix("host")
    device = port / f"rport-{host}:0-{number}"
    shown = device / f"fc_remote_ports/{device.name}"
    values = {"port_name": f"0x{wwpn}", "port_state": state, "roles": roles, "scsi_target_id": str(target_id)}
    for name, value in values.items():
        write(shown / name, value)
    (shown / "device").symlink_to("../../../" + device.name)
    link(roots.sys / f"class/fc_remote_ports/{device.name}", shown)
    return device


def add_lun(roots: Roots, rport: Path, hctl: str = HCTL) -> None:
    """A disk behind a remote port, with its SCSI target as fc_transport shows it."""
    target = rport / f"target{hctl.rpartition(':')[0]}"
    write(target / hctl / "state", "running")
    write(target / f"fc_transport/{target.name}/port_name", f"0x{REMOTE}")
    (target / f"fc_transport/{target.name}/device").symlink_to("../../../" + target.name)
    link(roots.sys / f"class/fc_transport/{target.name}", target / f"fc_transport/{target.name}")
    link(roots.sys / f"class/scsi_device/{hctl}", target / hctl)


def test_a_host_without_fibre_channel_shows_nothing(roots: Roots) -> None:
    assert fc_sysfs.wwpns(roots) == ()
    assert fc_sysfs.ports(roots) == ()
    assert fc_sysfs.sessions(roots, (REMOTE,)) == ()


def test_a_way_from_a_local_to_a_remote_port(roots: Roots) -> None:
    rport = add_remote(roots, add_port(roots))
    add_lun(roots, rport)
    (session,) = fc_sysfs.sessions(roots, (REMOTE,))
    assert session == Session(0, 7, REMOTE, LOCAL, LOGGED_IN, (HCTL,), channel=0, target_id=3)
    assert session.at(1) == HCTL
    assert fc_sysfs.wwpns(roots) == (LOCAL,)
    assert fc_sysfs.sessions(roots, (REMOTE_2,)) == ()


@pytest.mark.parametrize(
    ("remote", "state"),
    [
        ({"state": "Marginal"}, LOGGED_IN),
        ({"state": "Blocked"}, "Blocked"),
        ({"state": "Not Present", "roles": "unknown"}, "Not Present"),
        ({"roles": "FCP Initiator", "target_id": -1}, "Online, but no FCP Target"),
        ({"roles": "unknown"}, "Online, but no FCP Target"),
        ({"target_id": -1}, "Online, but no FCP Target"),
    ],
)
def test_the_states_of_a_way(roots: Roots, remote: dict[str, str | int], state: str) -> None:
    add_remote(roots, add_port(roots), **remote)  # type: ignore[arg-type]
    (session,) = fc_sysfs.sessions(roots, (REMOTE,))
    assert session.state == state


def test_what_cannot_be_read_of_one_port_leaves_the_others(roots: Roots) -> None:
    """Case 15."""
    add_remote(roots, add_port(roots, 6, LOCAL_2), state="Online")
    broken = add_port(roots, 7, "")
    add_remote(roots, broken)
    good = add_port(roots, 8, LOCAL)
    add_remote(roots, good, "", number=0)
    add_remote(roots, good, REMOTE, number=1)
    write(roots.sys / "class/fc_host/host9", "no directory")
    assert [(s.host, s.portal) for s in fc_sysfs.sessions(roots, (REMOTE,))] == [(6, LOCAL_2), (8, LOCAL)]
    assert fc_sysfs.wwpns(roots) == (LOCAL_2, LOCAL)


def test_a_target_of_a_driver_that_shows_no_remote_port(roots: Roots) -> None:
    """Case 15: both classes are looked at; and a target that has its remote port is not told twice."""
    port = add_port(roots)
    add_lun(roots, port)
    (session,) = fc_sysfs.sessions(roots, (REMOTE,))
    assert (session.state, session.devices, session.at(1)) == (LOGGED_IN, (HCTL,), HCTL)
    add_remote(roots, port, REMOTE)
    assert [s.target_id for s in fc_sysfs.sessions(roots, (REMOTE,))] == [3]


def test_all_that_every_port_sees_in_words(roots: Roots) -> None:
    port = add_port(roots)
    add_remote(roots, port)
    add_remote(roots, port, REMOTE_2, number=1, state="Not Present", roles="")
    add_port(roots, 8, LOCAL_2, state="Linkdown")
    assert fc_sysfs.ports(roots) == (
        FcPort(
            LOCAL,
            7,
            "Online",
            (
                "20:00:02:00:00:00:00:11 Online (FCP Target, FCP Initiator)",
                "20:00:02:00:00:00:00:13 Not Present (no role)",
            ),
        ),
        FcPort(LOCAL_2, 8, "Linkdown", ()),
    )


def test_the_ways_to_a_target_whatever_the_transport(roots: Roots) -> None:
    add_remote(roots, add_port(roots))
    add_disk(roots, add_session(roots), 1)
    assert [s.target for s in nexus.sessions(roots, TARGET)] == [TARGET]
    assert [s.target for s in nexus.sessions(roots, REMOTE)] == [REMOTE]
    assert [s.target for s in nexus.asked_for(roots, FcQuery("vm", (REMOTE, REMOTE_2), 1))] == [REMOTE]


# Claims: the disk of one comes back with its port.


def test_a_claim_outlasts_its_disk_for_as_long_as_the_address_is_its_ports(roots: Roots) -> None:
    port = add_port(roots)
    links.claim(roots, HCTL, nexus=(REMOTE, LOCAL))
    links.claim(roots, "7:0:0:9")
    links.drop_stale_claims(roots)
    assert [path.name for path in roots.claims.iterdir()] == [HCTL], "the other one had no disk and no port"
    write(port / "fc_host/host7/port_name", f"0x{LOCAL_2}")
    links.drop_stale_claims(roots)
    assert not list(roots.claims.iterdir()), "the number is another port's now"


def test_an_owner_is_added_to_what_a_claim_says(roots: Roots) -> None:
    links.claim(roots, HCTL, nexus=(REMOTE, LOCAL))
    links.claim(roots, HCTL, (107, 64))
    lines = {f"CDMI_ATTACH_NEXUS={REMOTE}@{LOCAL}", "CDMI_ATTACH_USER=107", "CDMI_ATTACH_GROUP=64"}
    assert {*(roots.claims / HCTL).read_text().splitlines()} == lines


def test_the_claims_of_a_lun_are_given_up_together(roots: Roots) -> None:
    links.claim(roots, HCTL, nexus=(REMOTE, LOCAL))
    links.claim(roots, "8:0:0:1", nexus=(REMOTE, LOCAL_2))
    links.claim(roots, "7:0:3:11", nexus=(REMOTE, LOCAL))
    links.claim(roots, "7:0:3:16385", nexus=(REMOTE, LOCAL))
    links.claim(roots, "7:0:4:1", nexus=(REMOTE_2, LOCAL))
    links.claim(roots, "3:0:0:1")
    links.drop_claims_of(roots, (REMOTE,), 1)
    assert {path.name for path in roots.claims.iterdir()} == {"7:0:3:11", "7:0:4:1", "3:0:0:1"}
