"""This machine's Fibre Channel as a world: software FCoE over a veth pair, and tcm_fc. For a lab guest only."""

import asyncio
import importlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent.host.created import open_created
from agent.host.guarded import GuardedHost
from agent.host.linux import FUNCTIONS, LinuxHost
from agent.host.sysfs import entries
from agent.workers.pool import Pool
from attachers.base import Host
from tests.cdmi_server.targets import Lun
from tests.cdmi_server.tcm_fc import FcTargets
from tests.host.fc_world import FcWorld
from tests.host.linux_world import CLAIMS, DEVICES, LINKS, SYS, links_settled, proofs

LOCAL, TARGET = "20000200000000c0", "20000200000000c1"
WIRE = (
    "modprobe -a fcoe tcm_fc veth target_core_file",
    "ip link add fcc0 address 02:00:00:00:00:c0 type veth peer name fcc1 address 02:00:00:00:00:c1",
    "ip link set fcc0 mtu 2500",
    "ip link set fcc1 mtu 2500",
)
"""The cable carries nothing before both ports are made: see tests/lab/fc_scene.py."""
VN2VN = SYS / "module/libfcoe/parameters/create_vn2vn"
REMOTE = SYS / "class/fc_remote_ports"
WAIT_S = 30.0
LOOK_S = 0.05


class LinuxFcWorld:
    """The guarded real host, and an array's port that this very kernel serves."""

    def __init__(self, host: Host, directory: Path) -> None:
        self.host = host
        self.local, self.target = LOCAL, TARGET
        self._rtslib: Any = importlib.import_module("rtslib_fb")
        self._directory = directory
        self._array = FcTargets([TARGET], [LOCAL])
        self._shown: dict[int, Lun] = {}
        self._backstores: list[Any] = []
        self._lost = False

    async def open(self) -> None:
        """Make cable and ports where there are none yet: they stay for the next test."""
        new = not (SYS / "class/net/fcc0").exists()
        for line in WIRE if new else ():
            await _run(*line.split())
        self._array.prepare()  # after its module is there, and before the ports log in
        for port in ("fcc1", "fcc0") if new else ():
            VN2VN.write_text(port)
        await self.plug()

    async def make_lun(self, lun: int) -> str:
        serial = secrets.token_hex(13)[:25]
        file, size = self._directory / serial, 16 << 20
        name = f"cdmi-{serial}"
        backstore = self._rtslib.FileIOStorageObject(name, dev=str(file), size=size, wwn=serial, write_back=False)
        self._backstores.append(backstore)
        self._shown[lun] = shown = Lun(TARGET, (), lun, serial, size, file, (LOCAL,))
        self._array.trim(list(self._shown.values()))
        self._array.show(shown, Path(backstore.path))
        return f"naa.6001405{serial}"

    async def swap_lun(self, lun: int) -> str:
        return await self.make_lun(lun)

    async def pull(self) -> None:
        await _run("ip", "link", "set", "fcc1", "down")
        await _until(lambda: self._state() == "Blocked")

    async def lose(self) -> None:
        self._patience("1")
        await _run("ip", "link", "set", "fcc1", "down")
        await _until(lambda: self._state() == "Not Present" and not list(self._disks()))
        self._lost = True

    async def plug(self) -> None:
        for end in ("fcc0", "fcc1"):
            await _run("ip", "link", "set", end, "up")
        await _until(lambda: self._state() == "Online" and "FCP Target" in self._read("roles"))
        self._patience("60")
        if self._lost and self._shown:
            await _until(lambda: bool(list(self._disks())))
        self._lost = False

    async def foreign_scan(self, hctl: str) -> None:
        host, channel, target, lun = hctl.split(":")
        (SYS / f"class/scsi_host/host{host}/scan").write_text(f"{channel} {target} {lun}")

    async def inventory(self) -> frozenset[str]:
        await links_settled()
        return frozenset(self._inventory())

    async def close(self) -> None:
        await self.plug()
        for hctl in list(self._disks()):
            (SYS / f"class/scsi_device/{hctl}/device/delete").write_text("1")
        await self.host.close()
        self._array.trim(())
        for backstore in self._backstores:
            with suppress(self._rtslib.RTSLibError):
                backstore.delete()

    def _inventory(self) -> Iterator[str]:
        yield from (f"device {hctl}" for hctl in self._disks())
        for directory in (LINKS, DEVICES, DEVICES / "path", CLAIMS):
            with suppress(FileNotFoundError):
                for entry in directory.iterdir():
                    if entry.is_symlink() or entry.is_file():
                        yield f"{entry} -> {entry.readlink() if entry.is_symlink() else ''}"
        yield from proofs()

    def _port(self) -> Path | None:
        """The array's port as this host sees it; the kernel shows it from the array's side as well."""
        for port in REMOTE.glob("rport-*"):
            with suppress(OSError):
                if (port / "port_name").read_text().strip() == f"0x{TARGET}":
                    return port
        return None

    def _read(self, name: str) -> str:
        port = self._port()
        with suppress(OSError):
            return (port / name).read_text().strip() if port else ""
        return ""

    def _state(self) -> str:
        return self._read("port_state")

    def _patience(self, seconds: str) -> None:
        port = self._port()
        assert port
        (port / "dev_loss_tmo").write_text(seconds)

    def _disks(self) -> Iterator[str]:
        """The addresses behind the port; what goes while it is looked at is not there."""
        port = self._port()
        behind = port.resolve().parents[1] if port else Path("/nonexistent")
        for target in entries(behind):
            if target.startswith("target"):
                yield from (name for name in entries(behind / target) if name.count(":") == 3)


async def linux_fc_world(tmp_path: Path) -> FcWorld:
    """The guarded real host. The workers are forked before its record is opened."""
    assert os.geteuid() == 0, "the real host needs root, in a guest that may be broken"
    pool = Pool.start(FUNCTIONS)
    host = GuardedHost(LinuxHost(pool), open_created(tmp_path / "created.sqlite"))
    await host.recover()
    world = LinuxFcWorld(host, tmp_path)
    await world.open()
    return world


async def _until(done: Callable[[], bool]) -> None:
    """Wait for the kernel, which tells nobody of the state of a port."""
    never = asyncio.Event()
    async with asyncio.timeout(WAIT_S):
        while not done():
            with suppress(TimeoutError):
                await asyncio.wait_for(never.wait(), LOOK_S)


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, f"{' '.join(command)}: {output.decode(errors='replace')}"
