"""LIO targets for the contract tests, through rtslib-fb (2.1.75 and later): all made here, all removed."""

import importlib
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

ATTRIBUTES = {"authentication": "0", "generate_node_acls": "0", "demo_mode_write_protect": "1"}

ACCESS = ("active/optimized", "active/non-optimized", "standby", "unavailable")
"""ALUA states by their number in configfs (and in REPORT TARGET PORT GROUPS)."""


class Lio:
    """Some targets of this kernel, with file-backed LUNs below `directory`."""

    def __init__(self, directory: Path, unique: str) -> None:
        self._rtslib: Any = importlib.import_module("rtslib_fb")
        self._directory = directory
        self._unique = unique
        self._groups: dict[str, Any] = {}
        self._targets: list[Any] = []
        self._backstores: list[Any] = []
        self._made = 0

    def make_target(self, name: str, portal: str, initiators: list[str]) -> None:
        """A target at one portal, open to these initiators, without any LUN."""
        address, _, port = portal.rpartition(":")
        target = self._rtslib.Target(self._rtslib.FabricModule("iscsi"), name)
        self._targets.append(target)
        group = self._groups[name] = self._rtslib.TPG(target, 1)
        for attribute, value in ATTRIBUTES.items():
            group.set_attribute(attribute, value)
        for initiator in initiators:
            self._rtslib.NodeACL(group, initiator)
        self._rtslib.NetworkPortal(group, address, int(port))
        group.enable = True

    def add_portal(self, target: str, portal: str) -> None:
        """The target at one more portal."""
        address, _, port = portal.rpartition(":")
        self._rtslib.NetworkPortal(self._groups[target], address, int(port))

    def make_lun(self, target: str, lun: int, *, size: int, serial: str = "") -> str:
        """A new logical unit as that LUN of the target, for all of its initiators; returns its name (naa.)."""
        serial = serial or secrets.token_hex(13)[:25]
        self._made += 1
        name = f"{self._unique}-{self._made}"
        file = self._directory / f"{name}.img"
        backstore = self._rtslib.FileIOStorageObject(name, dev=str(file), size=size, wwn=serial, write_back=False)
        self._backstores.append(backstore)
        group = self._groups[target]
        unit = self._rtslib.LUN(group, lun, backstore)
        for acl in group.node_acls:
            self._rtslib.MappedLUN(acl, lun, unit)
        return f"naa.6001405{serial}"  # spc_gen_naa_6h_vendor_specific() in drivers/target/target_core_spc.c

    def swap_lun(self, target: str, lun: int) -> str:
        """Another logical unit of the same size as that LUN. Initiators that are logged in stay so."""
        unit = next(one for one in self._groups[target].luns if one.lun == lun)
        size = unit.storage_object.size
        unit.delete()  # with its mappings
        return self.make_lun(target, lun, size=size)

    def resize_lun(self, target: str, lun: int, *, size: int) -> None:
        """The same logical unit as that LUN, with another size: LIO's fileio can only be made anew."""
        unit = next(one for one in self._groups[target].luns if one.lun == lun)
        serial, old = unit.storage_object.wwn, unit.storage_object
        unit.delete()
        old.delete()
        self._backstores = [one for one in self._backstores if one.name != old.name]
        self.make_lun(target, lun, size=size, serial=serial)

    def set_access(self, target: str, lun: int, state: str) -> None:
        """The target port group of a LUN in another ALUA state (SPC-4 5.15.2.4; drivers/target/target_core_alua.c)."""
        unit = next(one for one in self._groups[target].luns if one.lun == lun)
        group = Path(unit.storage_object.path, "alua/default_tg_pt_gp")
        (group / "alua_access_state").write_text(str(ACCESS.index(state)))

    def close(self) -> None:
        """Remove it all: targets first, since they hold the backstores."""
        for thing in (*self._targets, *self._backstores):
            with suppress(self._rtslib.RTSLibError):
                thing.delete()
