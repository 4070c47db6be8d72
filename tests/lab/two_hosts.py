"""Two lab guests, each with its own daemon, and one CDMI server with its iSCSI targets on the Ethernet between them."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tests.lab import fleet
from tests.lab.cache import open_cache
from tests.lab.guest import Guest
from tests.lab.identity import identity
from tests.lab.stage import ATTACH, PASSWORD, STATE, USER, Lun, Stage

NETWORK = "10.77.0.0/16"
THIRD = "iqn.1993-08.org.debian:01:the-third-host"
"""A host that is in the permissions before, and that nobody here speaks for."""
STAMP = "the stamp of the contested"
JOURNAL = "journalctl -q -b -o cat -u cdmi-attachd.service"
AGAIN = "changed under us, again"
"""What the daemon's journal says each time that another's write has undone its own."""


@dataclass(frozen=True)
class TwoHosts:
    """`near` runs the server and the targets; `far` reaches both over the network, as `near` does itself."""

    near: Stage
    far: Stage

    @property
    def stages(self) -> tuple[Stage, Stage]:
        return self.near, self.far

    @property
    def names(self) -> list[str]:
        """The initiators of both."""
        return [iqn(stage) for stage in self.stages]

    def source(self, stage: Stage, lun: Lun) -> str:
        """The LUN, as that host asks for it."""
        return f"cdmi://{stage.server}:8443/cdmi_objectid/{lun.object_id}"

    def permissions(self, lun: Lun) -> list[str]:
        """Who is let in, as the server says."""
        names: list[str] = self.near.export(lun.name)["permissions"]
        return names

    def contest(self, lun: Lun, rounds: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Let both daemons attach and detach that LUN so often, both at once. Returns what each host tells."""
        near, far = self.both(lambda stage: self._contest(stage, lun, rounds))
        return near, far

    def _contest(self, stage: Stage, lun: Lun, rounds: int) -> dict[str, Any]:
        scene = {
            "source": self.source(stage, lun),
            "stamp": STAMP,
            "us": iqn(stage),
            "third": THIRD,
            "server": stage.server,
            "exports": f"/cdmi/{lun.name}/?exports",
            "ca_file": f"{STATE}/tls/ca.pem",
            "login": f"{USER}:{PASSWORD}",
        }
        command = f"cd /opt/cdmi-attach && exec python3 -m tests.lab.inside_grants {rounds}"
        done = stage.guest.run(command, input=json.dumps(scene), timeout_s=120 + 10 * rounds)
        again = stage.guest.run(f"{JOURNAL} | grep -c '{AGAIN}'", check=False).stdout
        told: dict[str, Any] = json.loads(done.stdout)
        return told | {"again": int(again)}

    def both(self, work: Callable[[Stage], Any]) -> list[Any]:
        """The same on both hosts at the same time."""
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(work, self.stages))

    def anchor(self, lun: Lun) -> None:
        """Attach another LUN of the same target on each host, so that its session stays while `lun` comes and goes."""
        for stage in self.stages:
            beside = self.near.make_lun(f"beside-{stage.guest.name}", target=lun.target.rpartition(".")[2])
            stage.attach(beside.name, self.source(stage, beside))

    def weigh(self) -> None:
        """Detach what `anchor` attached."""
        for stage in self.stages:
            stage.detach(f"beside-{stage.guest.name}")


def iqn(stage: Stage) -> str:
    """A host's own name on the storage network."""
    return identity(stage.guest.name).iqn


def addresses(*guests: Guest) -> list[str]:
    """Where the guests are on the Ethernet between them."""
    slots = {record.name: record.slot for record in fleet.records(open_cache())}
    return [fleet.LAN.format(slots[guest.name]) for guest in guests]


def set_up(near: Guest, far: Guest, *server: str) -> TwoHosts:
    """Start the server in `near`, with these options more, on the address that both reach, and the daemon in each."""
    (address,) = addresses(near)
    hosts = TwoHosts(Stage(near, address), Stage(far, address))
    hosts.near.start_server("--listen", f"{address}:8443", *server, portals=[address])
    ca_file = f"{STATE}/tls/ca.pem"
    far.write(ca_file, near.run(["cat", ca_file]).stdout)
    far.write("/etc/cdmi-attach/server.password", PASSWORD)
    hosts.both(lambda stage: stage.start_daemon(ATTACH, networks=NETWORK))
    return hosts
