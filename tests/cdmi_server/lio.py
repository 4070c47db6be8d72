"""Real iSCSI targets: make the kernel's LIO show the LUNs, and remove nothing that was not made here."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rtslib_fb as rtslib
from rtslib_fb import tcm

from tests.cdmi_server.store import write_atomically
from tests.cdmi_server.targets import Lun, TargetsError
from tests.cdmi_server.tcm_fc import FcTargets

_TPG_ATTRIBUTES = {"generate_node_acls": 0, "demo_mode_write_protect": 1}
rtslib.MappedLUN.MAX_LUN = 0x7FFF
"""rtslib ends at 255; the kernel does not (drivers/target/target_core_fabric_configfs.c, an unsigned long long)."""
_NotFound = vars(rtslib).get("RTSLibNotInCFSError") or rtslib.RTSLibNotInCFS
"""The exception's names since 2.2, and up to 2.1."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What one target shows, and the text that says how to log in to it."""

    luns: tuple[Lun, ...]
    chap: str


class LioTargets:
    """LIO, with a file that lists what was made here: written before the making, so that a crash loses nothing.

    What stands already and is right is left alone, with its sessions: after a restart that kept the targets, and
    when another LUN changes. A target of which nothing changes is not even looked at: a host of many LUNs would wait.
    """

    exports = True

    def __init__(self, ledger: Path, fibre: FcTargets, *, chap: Path | None = None) -> None:
        """`chap` is a file that may come and go: {"user", "password"}, perhaps {"mutual_user", "mutual_password"} too.

        Initiators then have to log in with these, at all targets.
        """
        self._ledger = ledger
        self._fibre = fibre
        self._chap = chap
        made = json.loads(ledger.read_text()) if ledger.exists() else {}
        self._targets: set[str] = set(made.get("targets", ()))
        self._backstores: set[str] = set(made.get("backstores", ()))
        self._standing: dict[str, Shown] = {}

    async def apply(self, luns: Sequence[Lun]) -> None:
        """Make exactly these LUNs visible; blocking configfs I/O is done in a thread."""
        await asyncio.to_thread(self._apply, luns)

    def _apply(self, luns: Sequence[Lun]) -> None:
        try:
            self._fibre.prepare()
            if not (luns or self._targets or self._backstores):
                return
            rtslib.RTSRoot()
            self._fibre.trim([lun for lun in luns if not lun.portals])
            wanted = self._wanted(luns)
            before, self._standing = self._standing, {}
            new = {iqn: shown for iqn, shown in wanted.items() if before.get(iqn) != shown}
            self._withdraw(luns, new)
            for shown in new.values():
                for lun in shown.luns:
                    self._show(lun, shown.chap)
            for lun in luns:
                if not lun.portals:
                    self._fibre.show(lun, Path(self._have_backstore(lun).path))
            self._standing = wanted
        except (rtslib.RTSLibError, OSError) as error:
            raise TargetsError(f"LIO: {error}") from error

    def _wanted(self, luns: Sequence[Lun]) -> dict[str, "Shown"]:
        """What each target is to show."""
        chap = self._chap.read_text() if self._chap and self._chap.exists() else "{}"
        wanted: dict[str, list[Lun]] = {}
        for lun in luns:
            if lun.portals:
                wanted.setdefault(lun.target, []).append(lun)
        return {iqn: Shown(tuple(shown), chap) for iqn, shown in wanted.items()}

    def _withdraw(self, luns: Sequence[Lun], new: Mapping[str, "Shown"]) -> None:
        """Remove of ours what is not wanted: LUNs and ACLs first, since they hold targets and backstores."""
        _forget_index()
        wanted = {lun.target for lun in luns}
        for iqn in sorted(self._targets):
            if iqn in wanted and iqn not in new:
                continue
            target = _target(iqn)
            if target is None:
                self._forget(target=iqn)
            elif iqn in new:
                _trim(rtslib.TPG(target, 1), [lun for lun in new[iqn].luns if _has_its_size(lun)])
            else:
                target.delete()
                self._forget(target=iqn)
        names = {_backstore_name(lun) for lun in luns if (lun.portals and lun.target not in new) or _has_its_size(lun)}
        for name in sorted(self._backstores - names):
            if backstore := _backstore(name):
                backstore.delete()
            self._forget(backstore=name)

    def _show(self, lun: Lun, credentials: str) -> None:
        """Make what is missing of one LUN."""
        backstore = self._have_backstore(lun)
        tpg = self._have_tpg(lun)
        numbers = {one.lun: one for one in tpg.luns}
        unit = numbers.get(lun.lun) or rtslib.LUN(tpg, lun.lun, backstore)
        chap = json.loads(credentials)
        tpg.set_attribute("authentication", int(bool(chap)))
        for initiator in lun.initiators:
            acl = rtslib.NodeACL(tpg, initiator)
            _authenticate(acl, chap)
            if lun.lun not in {mapped.mapped_lun for mapped in acl.mapped_luns}:
                rtslib.MappedLUN(acl, lun.lun, unit)
        for portal in lun.portals:
            address, _, port = portal.rpartition(":")
            rtslib.NetworkPortal(tpg, address, int(port))
        tpg.enable = True

    def _have_backstore(self, lun: Lun) -> Any:
        """Return the fileio backstore of the LUN; O_DSYNC and the page cache, so CDMI reads and writes are coherent.

        LIO opens the file with O_DSYNC unless write_back asks for buffered I/O; both go through the page cache that
        the server's own reads and writes of the file use (drivers/target/target_core_file.c, fd_configure_device()).
        """
        name = _backstore_name(lun)
        standing = _backstore(name)
        if standing and name in self._backstores:
            return standing
        if standing:
            raise TargetsError(f"LIO: backstore {name} exists already and was not made here")
        self._remember(backstore=name)
        return rtslib.FileIOStorageObject(name, dev=str(lun.file), size=lun.size, wwn=lun.serial, write_back=False)

    def _have_tpg(self, lun: Lun) -> Any:
        """Return the target portal group of the LUN's target; a target that somebody else made is refused."""
        standing = _target(lun.target)
        if standing and lun.target in self._targets:
            return rtslib.TPG(standing, 1)
        if standing:
            raise TargetsError(f"LIO: {lun.target} exists already and was not made here")
        self._remember(target=lun.target)
        tpg = rtslib.TPG(rtslib.Target(rtslib.FabricModule("iscsi"), lun.target, "create"), 1)
        for name, value in _TPG_ATTRIBUTES.items():
            tpg.set_attribute(name, value)
        return tpg

    def _remember(self, *, target: str = "", backstore: str = "") -> None:
        self._targets |= {target} - {""}
        self._backstores |= {backstore} - {""}
        self._write()

    def _forget(self, *, target: str = "", backstore: str = "") -> None:
        self._targets -= {target}
        self._backstores -= {backstore}
        self._write()

    def _write(self) -> None:
        made = {"targets": sorted(self._targets), "backstores": sorted(self._backstores)}
        write_atomically(self._ledger, json.dumps(made, indent=1))


def _trim(tpg: Any, wanted: Sequence[Lun]) -> None:
    """Remove from one target the LUNs, mappings, ACLs and portals that are not wanted or are others'."""
    names = {lun.lun: _backstore_name(lun) for lun in wanted}
    for unit in list(tpg.luns):
        if names.get(unit.lun) != _name_behind(unit):
            unit.delete()
    for acl in list(tpg.node_acls):
        allowed = {lun.lun for lun in wanted if acl.node_wwn in _lower(lun.initiators)}
        for mapped in list(acl.mapped_luns):
            if mapped.mapped_lun not in allowed:
                mapped.delete()
        if not allowed:
            acl.delete()
    portals = {portal for lun in wanted for portal in lun.portals}
    for portal in list(tpg.network_portals):
        if f"{portal.ip_address}:{portal.port}" not in portals:
            portal.delete()


def _has_its_size(lun: Lun) -> bool:
    """Whether the LUN's backstore, if it stands, is as large as it is to be; LIO's fileio cannot be resized."""
    standing = _backstore(_backstore_name(lun))
    return standing is None or int(standing.size) == lun.size


def _authenticate(acl: Any, chap: dict[str, str]) -> None:
    """What the initiator has to log in with; an empty value takes it away (rtslib NodeACL._set_auth_attr)."""
    acl.chap_userid, acl.chap_password = chap.get("user", ""), chap.get("password", "")
    acl.chap_mutual_userid = chap.get("mutual_user", "")
    acl.chap_mutual_password = chap.get("mutual_password", "")


def _lower(names: Iterable[str]) -> set[str]:
    return {name.lower() for name in names}


def _name_behind(unit: Any) -> str | None:
    try:
        return str(unit.storage_object.name)
    except rtslib.RTSLibError:
        return None


def _backstore_name(lun: Lun) -> str:
    return f"cdmi-{lun.serial}"


def _backstore(name: str) -> Any | None:
    try:
        return rtslib.FileIOStorageObject(name)
    except _NotFound:
        return None


def _target(iqn: str) -> Any | None:
    try:
        return rtslib.Target(rtslib.FabricModule("iscsi"), iqn, "lookup")
    except _NotFound:
        return None


def _forget_index() -> None:
    """Make rtslib list the backstores again: it remembers numbers that another process may have taken since."""
    tcm.bs_cache.clear()
