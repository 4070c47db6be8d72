"""A host that is lost, and comes back: it stands still, and goes on later with its guest, which knows of nothing."""

import base64
from dataclasses import dataclass
from pathlib import Path

from tests.lab.identity import identity
from tests.lab.one_install import MADE_ANEW, TOLD
from tests.lab.one_life import DOMAIN, NUMBER, Life
from tests.lab.one_scene import Machines
from tests.lab.stage import Stage
from tests.lab.writing_guest import Writer
from tests.opennebula.life import ok
from tests.opennebula.oned import Lcm

HOOK = Path("/etc/one/cdmi/hooks/host_lost")
MONITORED, ERROR = 2, 3
"""include/Host.h."""
SESSIONS = (
    "cd /sys/kernel/config/target/iscsi && { "
    "cat */tpgt_*/dynamic_sessions 2>/dev/null; grep -Ls '^No active' */tpgt_*/acls/*/info; }; true"
)
TOLD_S = 180


@dataclass(frozen=True)
class Lost:
    """The host that a VM is on, and another one."""

    life: Life
    host: str
    other: str

    @property
    def site(self) -> Machines:
        return self.life.site

    @property
    def stage(self) -> Stage:
        return self.site.hosts[self.host]

    @property
    def name(self) -> str:
        """What the storage network calls it."""
        return identity(self.stage.guest.name).iqn

    def stands_still(self) -> None:
        """No power, no network, a kernel that hangs: from outside all of these look alike. oned notices."""
        self.life.say(f"{self.host} stands still")
        self.stage.guest.freeze()
        hosts = "".join(self._host(number, name) for number, name in enumerate(self.site.hosts))
        self.site.drivers.write(Path(TOLD, "hosts.xml"), f"<HOST_POOL>{hosts}</HOST_POOL>")

    def _host(self, number: int, name: str) -> str:
        lost = name == self.host
        told = f"<CDMI_INITIATORS>{identity(self.site.hosts[name].guest.name).iqn}</CDMI_INITIATORS>"
        return (
            f"<HOST><ID>{number}</ID><NAME>{name}</NAME><STATE>{ERROR if lost else MONITORED}</STATE>"
            f"<TEMPLATE>{told}</TEMPLATE><VMS>{f'<ID>{NUMBER}</ID>' if lost else ''}</VMS></HOST>"
        )

    async def withdrawn(self) -> None:
        """oned's hook: the host may use nothing by then, and has no session, as the target's kernel says."""
        number = list(self.site.hosts).index(self.host)
        template = base64.b64encode(f"<HOST><ID>{number}</ID></HOST>".encode()).decode()
        done = await self.site.drivers.hook(HOOK, f"{template} -m -p 0 -u")
        ok(done)
        self.life.say(done.printed.strip())
        front_end = self.site.server.guest
        assert front_end.run(["cat", MADE_ANEW]).stdout.split()[1:] == ["-m", "-u", "-p", "0"]
        assert not any(self.name in self.life.permitted(number) for number in self.life.numbers)
        assert not self.has_session()

    def has_session(self) -> bool:
        """Whether a target serves it."""
        return self.name in self.site.server.guest.run(SESSIONS).stdout

    async def made_anew(self) -> None:
        """The VM is moved from the lost host, which nobody logs in to, and boots at the other."""
        vm = self.site.oned.tell(self.life.vm.at(self.other), Lcm.PROLOG_MIGRATE_UNKNOWN)
        ok(await self.site.oned.transfer(vm, self.site.oned.moves(vm, self.host, self.other)))
        self.site.boot(vm)
        self.life.vm = self.site.oned.tell(vm, Lcm.RUNNING)
        self.life.runs()

    def comes_back(self) -> None:
        """Its guest and its daemon go on as if nothing had been: they get nothing, and the new one sees nothing."""
        self.life.say(f"{self.host} comes back")
        self.stage.guest.thaw()
        Writer(self.stage, DOMAIN).fails()
        self.life.guest.goes_on()
        for name in self.site.attached(self.host):
            told = (
                f"until cdmi-attach status {name} --json | jq -e '.phase == \"degraded\"' >/dev/null; do sleep 1; done"
            )
            self.stage.guest.run(["timeout", str(TOLD_S), "sh", "-c", told], timeout_s=TOLD_S + 30)
        assert not self.has_session()
        assert not any(self.name in self.life.permitted(number) for number in self.life.numbers)

    def is_cleared(self) -> None:
        """What its administrator does: the guest that has lost its disks ends, and they are given up."""
        self.stage.guest.run(f"virsh -q destroy {DOMAIN}", timeout_s=TOLD_S)
        for name in self.site.attached(self.host):
            self.stage.give_up(name)
