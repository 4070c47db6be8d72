"""A host is lost: it is withdrawn at the server before OpenNebula's own script makes its VMs anew, or they are not."""

import asyncio
import base64
import subprocess
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import pytest_asyncio

from tests.cdmi_server.faults import Action, Fault, RequestKind
from tests.opennebula.machines import ROOT
from tests.opennebula.oned import Disk, Lcm, Vm
from tests.opennebula.site import Site

STOCK = """\
#!/bin/sh
# OpenNebula's own script: what it was called with, and who may use the disks by then.
{{ echo "$*"; cat; echo; }} >>{site}/stock
exit $(cat {site}/stock.status 2>/dev/null || echo 0)
"""
LIST = """\
#!/bin/sh
# {name} list -x: the next answer that is there, the last one again and again; else the site's own command
case $1 in list) ;; *) exec {site}/bin/{name} "$@";; esac
[ ! -e {site}/oned.down ] || {{ echo "Failed to open TCP connection" >&2; exit 255; }}
for file in {site}/{name}.*.xml; do
    cat "$file"
    [ $(ls {site}/{name}.*.xml | wc -l) = 1 ] || rm "$file"
    exit 0
done
"""
ERROR, MONITORED = 3, 2


@dataclass
class Room:
    """A site whose oned knows its hosts, with the hook installed. `names` is what the probes told."""

    site: Site
    names: dict[str, str] = field(default_factory=dict)
    asked: int = 0

    @property
    def folder(self) -> Path:
        return self.site.folder

    def hosts(self, states: dict[str, int], vms: Sequence[Vm] = ()) -> None:
        """What `onehost list -x` is to answer next, and all the time after that."""
        self.asked += 1
        self._answer("onehost", "".join(self._host(name, state, vms) for name, state in states.items()))
        records = "".join(
            f"<VM><ID>{vm.id}</ID><HISTORY_RECORDS><HISTORY><HOSTNAME>{vm.host}</HOSTNAME></HISTORY></HISTORY_RECORDS></VM>"
            for vm in vms
            if vm.lcm is Lcm.INIT
        )
        (self.folder / "onevm.1.xml").write_text(f"<VM_POOL>{records}</VM_POOL>")

    def _answer(self, name: str, inner: str) -> None:
        (self.folder / f"{name}.{self.asked}.xml").write_text(f"<HOST_POOL>{inner}</HOST_POOL>")

    def _host(self, name: str, state: int, vms: Sequence[Vm]) -> str:
        ids = "".join(f"<ID>{vm.id}</ID>" for vm in vms if vm.host == name and vm.lcm is not Lcm.INIT)
        told = f"<CDMI_INITIATORS><![CDATA[{self.names.get(name, '')}]]></CDMI_INITIATORS>"
        return (
            f"<HOST><ID>{number(name)}</ID><NAME>{name}</NAME><STATE>{state}</STATE>"
            f"<TEMPLATE>{told}</TEMPLATE><VMS>{ids}</VMS></HOST>"
        )

    async def hook(self, *options: str, by_argument: bool = False) -> tuple[int, str, str]:
        """Run it for hosta, as oned does. Returns its status, what it printed, and the error."""
        words = [base64.b64encode(f"<HOST><ID>{number('hosta')}</ID></HOST>".encode()).decode(), *options]
        environ = {"ONE_LOCATION": str(self.folder / "one"), "PATH": f"{self.folder / 'room'}:{self.site.drivers.path}"}
        process = await asyncio.create_subprocess_exec(
            str(ROOT / "opennebula" / "hooks" / "host_lost"),
            *(words if by_argument else []),
            env=environ | {"HOME": str(self.folder)},
            cwd=self.folder,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate(b"" if by_argument else " ".join(words).encode())
        assert process.returncode is not None and err.count(b"\n") <= 1, err
        return process.returncode, out.decode(), err.decode()

    def made_anew(self) -> str:
        """What OpenNebula's own script was called with; empty where it was not."""
        file = self.folder / "stock"
        return file.read_text().strip() if file.exists() else ""

    def conf(self, line: str) -> None:
        file = self.site.drivers.remotes / "etc" / "tm" / "cdmi" / "cdmi.conf"
        file.write_text(f"{file.read_text()}{line}\n")


def number(host: str) -> int:
    return ord(host[-1]) - ord("a")


@pytest_asyncio.fixture
async def room(site: Site) -> Room:
    """Two hosts whose names the probes have told; hosta answers no more."""
    stock = site.drivers.remotes / "hooks" / "ft" / "host_error.rb"
    (site.folder / "one" / "etc").mkdir(exist_ok=True)
    (site.folder / "one" / "etc" / "oned.conf").write_text("MONITORING_INTERVAL_HOST = 1\n")
    programs = {stock: STOCK, **{site.folder / "room" / name: LIST for name in ("onehost", "onevm")}}
    for path, text in programs.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(site=site.folder, name=path.name))
        path.chmod(0o755)
    return Room(site, {name: host.initiator for name, host in site.hosts.items()})


async def running(room: Room, number: int = 5, **more: object) -> Vm:
    """A VM on hosta, with a persistent disk and a copy; then hosta is lost."""
    site = room.site
    data, base = await site.image(f"data{number}"), await site.image(f"base{number}")
    disks = (Disk(0, data, clone=False), Disk(1, base, clone=True))
    vm = site.oned.tell(replace(Vm(number, disks, "hosta"), **more), Lcm.PROLOG)  # type: ignore[arg-type]
    done = await site.oned.transfer(vm, site.oned.prolog(vm))
    assert done.ok, done.error
    return site.oned.tell(vm, Lcm.RUNNING)


def lose(room: Room, *vms: Vm) -> None:
    room.site.lose("hosta")
    room.hosts({"hosta": ERROR, "hostb": MONITORED}, vms)


@pytest.mark.parametrize("by_argument", [False, True])
async def test_it_is_withdrawn_and_then_its_vms_are_made_anew(room: Room, by_argument: bool) -> None:
    vm = await running(room)
    lose(room, vm)
    room.site.logins()
    status, said, error = await room.hook("-m", "-p", "0", "-u", by_argument=by_argument)
    assert (status, error) == (0, ""), error
    assert "withdrawn from 2 disks of 1 VMs" in said
    assert room.site.permitted("images/data5") == room.site.permitted("vms/one-5-1") == set()
    words = room.made_anew().split()
    assert words[1:] == ["-m", "-u", "-p", "0"] and b"<ID>0</ID>" in base64.b64decode(words[0])
    assert set(room.site.logins()) == {"hostb"}, "the lost host is not logged in to"
    assert room.site.children("vms") == {"one-5-1"}, "the copy is not lost"


async def test_the_hosts_that_live_keep_their_disks(room: Room) -> None:
    """Also the same object, where both may have it."""
    lost, other = await running(room, 5), await running(room, 6)
    shared = room.site.oned.tell(replace(other, host="hostb", id=7, disks=lost.disks[:1]), Lcm.RUNNING)
    record = room.site.record("images/data5")
    assert record and record.volume and record.volume.export
    done = await room.site.oned.transfer(shared, room.site.oned.prolog(shared))
    assert done.ok, done.error
    lose(room, lost, other)
    assert (await room.hook("-m", "-p0", "-u"))[0] == 0
    assert room.site.permitted("images/data5") == {"hostb"}
    assert room.site.permitted("images/data6") == set()


async def test_what_is_suspended_there_is_withdrawn_as_well(room: Room) -> None:
    """Of a VM that the host is not told to have, its history tells that it was there last."""
    vm = await running(room)
    lose(room, room.site.oned.tell(vm, Lcm.INIT))
    status, said, _ = await room.hook("-m", "-p", "0", "-u")
    assert status == 0 and "2 disks of 1 VMs" in said and room.site.permitted("images/data5") == set()


async def test_again_is_the_same(room: Room) -> None:
    vm = await running(room)
    lose(room, vm)
    (room.folder / "stock.status").write_text("9")
    status, _, error = await room.hook("-m", "-p", "0", "-u")
    assert status == 1 and "host_error.rb ended with status 9" in error and "host is withdrawn" in error
    (room.folder / "stock.status").write_text("0")
    assert (await room.hook("-m", "-p", "0", "-u"))[0] == 0
    assert room.made_anew().count("-m") == 2


async def refused(room: Room, *says: str, options: Sequence[str] = ("-m", "-p", "0", "-u")) -> None:
    """It ends with one line that says these, and nothing is made anew."""
    status, _, error = await room.hook(*options)
    assert status == 1 and error.startswith("cdmi/host_lost: ") and error.count("\n") == 1
    assert all(text in error for text in says), error
    assert room.made_anew() == ""


async def test_a_server_that_does_not_answer_says_nothing(room: Room) -> None:
    vm = await running(room)
    lose(room, vm)
    room.site.server.faults.clear()
    room.site.find("hostb")
    room.site.lose("hostb")
    await refused(room, "hostb cannot be reached")
    room.site.find("hostb")
    await room.site.hosts["hostb"].stop()
    await refused(room, "hostb: ")
    await room.site.hosts["hostb"].start()
    assert (await room.hook("-m", "-p", "0", "-u"))[0] == 0, "and once it does, it goes on"


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        (RequestKind.PUT_EXPORTS, Fault(Action.STATUS, status=403)),
        (RequestKind.PUT_EXPORTS, Fault(Action.STATUS, status=503, after=True)),
        (RequestKind.GET_EXPORTS, Fault(Action.GARBAGE)),
    ],
)
async def test_a_server_that_does_not_do_it(room: Room, kind: RequestKind, fault: Fault) -> None:
    vm = await running(room)
    lose(room, vm)
    room.site.server.faults.set(kind, fault)
    await refused(room, "hostb: ")
    room.site.server.faults.clear()
    assert (await room.hook("-m", "-p", "0", "-u"))[0] == 0


LEFT = """{"exports": [{"key": "i", "withdrawn": ["iqn.x"], "permissions": ["%s"]}]}"""


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        ("{}", 0, "tells who may use it"),
        ('{"exports": []}', 0, "tells who may use it"),
        ("no", 0, "has told no JSON"),
        ("", 0, "2 objects, but 0 answers"),
        (LEFT % "iqn.2026-01.org.example:HOSTA", 0, "still lets iqn.2026-01.org.example:HOSTA in"),
        (LEFT % "50:01:43:80:12:34:56:78", 0, "nothing tells that this is not the lost host"),
        ('{"code": "conflict"}', 5, "status 5"),
        ('{"code": "not-found"}', 4, "status 4"),
    ],
)
async def test_what_is_no_proof(room: Room, answer: str, status: int, says: str) -> None:
    """Whatever a daemon says: a name that is left has to be known as another host's."""
    vm = await running(room)
    lose(room, vm)
    command = room.folder / "hosts" / "hostb" / "bin" / "cdmi-attach"
    command.write_text(f"#!/bin/sh\necho '{answer}'\nexit {status}\n")
    await refused(room, says)


async def test_a_host_that_nobody_knows_the_name_of(room: Room) -> None:
    vm = await running(room)
    del room.names["hosta"]
    lose(room, vm)
    await refused(room, "nothing tells what hosta is called", "INITIATORS")
    assert room.site.permitted("images/data5") == {"hosta"}
    room.conf(f'INITIATORS="hosta={room.site.hosts["hosta"].initiator}"')
    assert (await room.hook("-m", "-p", "0", "-u"))[0] == 0


async def test_a_name_that_was_another_proves_nothing(room: Room) -> None:
    """The host has a new initiator name, or two: what is left in the export may still be it."""
    vm = await running(room)
    room.names["hosta"] = "iqn.2026-01.org.example:hosta-renamed"
    lose(room, vm)
    await refused(room, f"lets {room.site.hosts['hosta'].initiator} in", "nothing tells")


async def test_two_hosts_of_one_name(room: Room) -> None:
    vm = await running(room)
    room.names["hostb"] = room.names["hosta"].upper()
    lose(room, vm)
    await refused(room, "hostb is called")
    assert room.site.permitted("images/data5") == {"hosta"}, "a living host is not fenced off"


async def test_oned_that_does_not_tell(room: Room) -> None:
    vm = await running(room)
    lose(room, vm)
    (room.folder / "oned.down").touch()
    await refused(room, "oned does not tell of its hosts")


async def test_a_host_that_comes_back_keeps_what_it_has(room: Room) -> None:
    vm = await running(room)
    room.hosts({"hosta": ERROR, "hostb": MONITORED}, [vm])
    room.hosts({"hosta": ERROR, "hostb": MONITORED}, [vm])
    room.hosts({"hosta": MONITORED, "hostb": MONITORED}, [vm])
    status, said, error = await room.hook("-m", "--pause=50", "-u")
    assert (status, error) == (0, "") and "came back" in said and room.made_anew() == ""
    assert room.site.permitted("images/data5") == {"hosta"}


async def test_it_is_waited_for_as_long_as_the_hook_says(room: Room) -> None:
    vm = await running(room)
    for _ in range(3):
        room.hosts({"hosta": ERROR, "hostb": MONITORED}, [vm])
    status, _, _ = await room.hook("-m", "-p", "2", "-u")
    assert status == 0 and sorted(path.name for path in room.folder.glob("onehost.*")) == ["onehost.3.xml"]
    assert room.made_anew().endswith("-p 0"), "it is not waited for twice"


async def test_disks_that_nobody_fences(room: Room) -> None:
    """With -u nobody but this hook fences: a VM with another disk could write it twice."""
    vm = await running(room)
    room.site.oned.tell(replace(vm, disks=(*vm.disks, Disk(2, "/one/datastores/1/x", clone=True, tm="shared"))))
    lose(room, vm)
    await refused(room, "disk 2 of VM 5", "--unfenced-others")
    assert (await room.hook("-m", "-p", "0"))[0] == 0, "there OpenNebula's own fencing sees to them"
    assert (await room.hook("-m", "-p", "0", "-u", "--unfenced-others"))[0] == 0
    assert "unfenced" not in room.made_anew()


async def test_a_guest_that_was_on_its_way_there_may_still_run_elsewhere(room: Room) -> None:
    """It has its disks open where it came from, which is a host that everybody knows."""
    vm = await running(room)
    arriving = room.site.oned.tell(replace(vm, history=(("hostb", 100),)), Lcm.MIGRATE)
    lose(room, arriving)
    await refused(room, "VM 5 is being migrated, and may still run on hostb")
    room.site.oned.tell(arriving, Lcm.RUNNING)
    assert (await room.hook("-m", "-p", "0", "-u"))[0] == 0


async def test_what_is_only_read_needs_nobody_s_withdrawal(room: Room) -> None:
    vm = await running(room)
    cdrom = Disk(2, "cdmi://nowhere.example.org/cdmi_objectid/00", clone=False, read_only=True)
    room.site.oned.tell(replace(vm, disks=(*vm.disks, cdrom)))
    lose(room, vm)
    assert (await room.hook("-m", "-p", "0", "-u"))[0] == 0


@pytest.mark.parametrize("words", [["-p"], ["-x"], ["-p", "soon"], ["more"]])
async def test_arguments_that_it_does_not_know(room: Room, words: list[str]) -> None:
    lose(room)
    await refused(room, "ARGUMENTS", options=["-m", *words])


async def test_without_opennebula_s_script_nothing_is_begun(room: Room) -> None:
    vm = await running(room)
    lose(room, vm)
    (room.site.drivers.remotes / "hooks" / "ft" / "host_error.rb").unlink()
    await refused(room, "host_error.rb is not there")
    assert room.site.permitted("images/data5") == {"hosta"}


def test_the_probe_tells_what_the_host_is_called(tmp_path: Path) -> None:
    probe = ROOT / "opennebula" / "im" / "kvm-probes.d" / "host" / "system" / "cdmi_attach.sh"
    told = {"ok": """echo '{"initiator_name": "iqn.x:a", "wwpns": ["50aa"]}'""", "down": "exit 3", "odd": "echo no"}
    for name, line in told.items():
        command = tmp_path / name / "cdmi-attach"
        command.parent.mkdir()
        command.write_text(f"#!/bin/sh\n{line}\n")
        command.chmod(0o755)
        environ = {"PATH": f"{command.parent}:/usr/bin:/bin"}
        done = subprocess.run([probe], env=environ, capture_output=True, text=True, check=True)
        assert done.stdout == ('CDMI_INITIATORS="iqn.x:a,50aa"\n' if name == "ok" else "")
