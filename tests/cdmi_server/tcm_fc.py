"""Real Fibre Channel targets: LIO's tcm_fc, through configfs by hand, since rtslib wants a port that is there already.

A port asks its target at its very login whether it may come in (drivers/target/tcm_fc/tfc_sess.c), so that targets and
the initiators' ACLs are made before the ports are: what zoning is elsewhere. LUNs come and go later.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from attachers.checks import with_colons
from tests.cdmi_server.targets import Lun

FABRIC = Path("/sys/kernel/config/target/fc")


class FcTargets:
    """The target ports of this kernel, by their names; `initiators` are those that may log in at all."""

    def __init__(self, targets: Sequence[str], initiators: Sequence[str]) -> None:
        self._targets = tuple(targets)
        self._initiators = tuple(initiators)

    def prepare(self) -> None:
        """Make the ports' targets, without LUNs. Needs the module tcm_fc."""
        for target in self._targets:
            for initiator in self._initiators:
                self._acl(target, initiator).mkdir(parents=True, exist_ok=True)

    def trim(self, wanted: Sequence[Lun]) -> None:
        """Remove the mappings and LUNs that are not wanted, or are others'."""
        for target in self._targets:
            mine = {one.lun: one for one in wanted if one.target == target}
            for unit in sorted((self._group(target) / "lun").glob("lun_*")):
                number = int(unit.name.removeprefix("lun_"))
                keep = number in mine and _backstore_of(unit) == f"cdmi-{mine[number].serial}"
                for initiator in self._initiators:
                    if not keep or initiator not in mine[number].initiators:
                        _remove(self._acl(target, initiator) / unit.name)
                if not keep:
                    _remove(unit)

    def show(self, lun: Lun, backstore: Path) -> None:
        """Make what is missing of one LUN; its backstore is that directory of configfs."""
        unit = self._group(lun.target) / f"lun/lun_{lun.lun}"
        _make(unit, backstore)
        for initiator in set(lun.initiators) & set(self._initiators):
            _make(self._acl(lun.target, initiator) / unit.name, unit)

    def remove(self) -> None:
        """Remove it all, LUNs first. Ports that are logged in are logged out."""
        self.trim(())
        for target in self._targets:
            for initiator in self._initiators:
                _remove(self._acl(target, initiator))
            for place in (self._group(target), self._group(target).parent):
                _remove(place)

    def _group(self, target: str) -> Path:
        return FABRIC / with_colons(target) / "tpgt_1"

    def _acl(self, target: str, initiator: str) -> Path:
        return self._group(target) / "acls" / with_colons(initiator)


def _backstore_of(unit: Path) -> str | None:
    return next((link.resolve().name for link in unit.iterdir() if link.is_symlink()), None)


def _make(unit: Path, to: Path) -> None:
    unit.mkdir(exist_ok=True)
    if not any(link.is_symlink() for link in unit.iterdir()):
        (unit / "cdmi").symlink_to(to)


def _remove(place: Path) -> None:
    with suppress(FileNotFoundError):
        for link in place.iterdir():
            if link.is_symlink():
                link.unlink()
        place.rmdir()
