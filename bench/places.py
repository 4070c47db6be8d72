"""Where the cases are played: a guest with contenders, server and daemon, and LUNs in it as each kind wants them."""

from collections.abc import Callable

from bench import packages
from bench.inside.lun import Lun
from tests.lab import fleet
from tests.lab.cache import CHECKOUT, Cache
from tests.lab.fc_scene import PAIRS, Fibre
from tests.lab.guest import Guest
from tests.lab.nfs_scene import ALIVE, IMAGE, ROOT, Shares
from tests.lab.stage import Stage

NAME, RELEASE = "bench", "bookworm"
Make = Callable[[str, str], Lun]
"""Makes a LUN by its name and its target's, with its stamp on it."""


def place(cache: Cache, kind: str) -> tuple[Guest, Make]:
    """A new guest for the cases of this kind, and how a LUN is made there. Raises `LabError`."""
    fleet.down(cache, NAME)
    guest = fleet.up(cache, NAME, RELEASE)
    guest.push(CHECKOUT / "bench", "/opt/cdmi-attach/bench")
    guest.push(packages.FOLDER, "/opt/os-brick")
    return guest, {"iscsi": _iscsi, "fc": _fc, "fcpaths": _fc_paths, "nfs": _nfs}[kind](Stage(guest))


def _stamp(name: str) -> str:
    return f"stamp of {name}"


def _iscsi(stage: Stage) -> Make:
    stage.set()

    def make(name: str, target: str) -> Lun:
        made = stage.make_lun(name, target=target, content=_stamp(name).encode().ljust(512, b"\0"))
        export = stage.export(name)
        number, portals = int(export["logical_unit_number"]), tuple(_portal(text) for text in export["portals"])
        return Lun(name, made.source, made.target, portals, number, made.wwid, _stamp(name))

    return make


def _portal(text: str) -> str:
    address = text.partition(",")[0]
    return address if ":" in address else f"{address}:3260"


def _fc(stage: Stage) -> Make:
    """Two target ports, and one path: nobody makes a map."""
    return _fibre(stage, 'multipath = "never"')


def _fc_paths(stage: Stage) -> Make:
    """Two target ports, each on a fabric of its own."""
    return _fibre(stage, 'multipath = "auto"')


def _fibre(stage: Stage, multipath: str) -> Make:
    """A LUN's portals are its target ports."""
    fibre = Fibre(stage).set(config=f'protocols = ["fc"]\n{multipath}')

    def make(name: str, _target: str) -> Lun:
        made = fibre.make_lun(name, content=_stamp(name).encode().ljust(512, b"\0"))
        ports = tuple(pair.target for pair in PAIRS)
        return Lun(name, made.source, "", ports, int(made.target), made.wwid, _stamp(name), "Network/FC")

    return make


def _nfs(stage: Stage) -> Make:
    """A file: its target is where it is in the share, its portal the server with the share."""
    shares = Shares(stage).set()

    def make(name: str, _target: str) -> Lun:
        source = shares.put(f"alive/{name}", _stamp(name).encode().ljust(512, b"\0"), size=IMAGE)
        return Lun(name, source, name, (f"{ALIVE}:{ROOT}/alive",), 0, "", _stamp(name), "Network/NFSv4")

    return make
