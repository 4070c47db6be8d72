"""MV: a disk goes from host to host with its VM, or rests on its server while the VM is stopped or undeployed.

The state of the VM decides what is meant, not the names of hosts: the front-end may be a host as well.
"""

from __future__ import annotations

from collections.abc import Sequence

from cdmi_one import commands, pool
from cdmi_one.clones import object_of
from cdmi_one.failure import Failure
from cdmi_one.hosts import is_front_end
from cdmi_one.places import Place, attachment, disk_place, place_of, vm_id
from cdmi_one.remote import UNREACHABLE, RemoteFailure, run
from cdmi_one.settings import Settings, load
from cdmi_one.vm import Disk, Vm, show
from cdmi_one.withdrawal import Target, names_of, withdraw

TO_REST = frozenset({10, 30, 41, 42})
"""EPILOG_STOP, EPILOG_UNDEPLOY, and their failures (include/VirtualMachine.h)."""
ON_THE_WAY = frozenset({8, 38, 43, 44, 45, 46})
"""PROLOG_MIGRATE, that of a VM that is powered off or suspended, and their failures."""
FROM_REST = frozenset({9, 31, 49, 50})
"""PROLOG_RESUME, PROLOG_UNDEPLOY, and their failures."""
LOST = frozenset({60, 61})
"""PROLOG_MIGRATE_UNKNOWN, and its failure: the host that the VM was on is not there."""


def mv(words: Sequence[str]) -> None:
    """`SRC_HOST:DISK DST_HOST:DISK VM DATASTORE`; directories are the system datastore's."""
    if place_of(words[0]).number is None:
        return
    (source, number), (destination, _), order = disk_place(words[0]), disk_place(words[1]), commands.generation()
    vm, settings = show(vm_id(words[2])), load()
    name, disk = attachment(vm.id, number), vm.disk(number)
    if _rests(vm, source, destination, settings):
        run(source.host, [commands.detach(name, order)])
        return
    if vm.lcm_state in LOST and source.host != destination.host:
        _withdraw(source.host, object_of(disk, vm.id, settings), disk, destination, settings)
    elif _leaves(vm, source, destination, settings):
        try:
            run(source.host, [commands.detach(name, order)])
        except RemoteFailure as failure:
            if failure.status != UNREACHABLE or not _is_lost(source.host):
                raise
            _withdraw(source.host, object_of(disk, vm.id, settings), disk, destination, settings)
    run(destination.host, _linked(name, disk, vm, destination, settings, order))


def _rests(vm: Vm, source: Place, destination: Place, settings: Settings) -> bool:
    """Whether the disk goes to the front-end, where it is not attached."""
    if vm.lcm_state in TO_REST | FROM_REST | ON_THE_WAY | LOST:
        return vm.lcm_state in TO_REST
    return is_front_end(destination.host, settings) and not is_front_end(source.host, settings)


def _leaves(vm: Vm, source: Place, destination: Place, settings: Settings) -> bool:
    """Whether a host is to let go of it first."""
    if vm.lcm_state in FROM_REST or source.host == destination.host:
        return False
    return vm.lcm_state in ON_THE_WAY or not is_front_end(source.host, settings)


def _is_lost(host: str) -> bool:
    """Whether oned cannot reach it either: VMs that are powered off are moved away from a lost host as well."""
    return any(one.name == host and one.is_lost for one in pool.hosts())


def _withdraw(host: str, source: str, disk: Disk, destination: Place, settings: Settings) -> None:
    """Take a lost host's permissions, through the destination: it is not logged in to. Raises `Failure`.

    What is only read, there and elsewhere, needs nobody's withdrawal.
    """
    if disk.read_only:
        return
    hosts = pool.hosts()
    found = [one for one in hosts if one.name == host]
    if not found:
        raise Failure(
            f"oned knows no host {host}, so that it cannot be withdrawn", "withdraw it at the server, by hand"
        )
    withdraw([Target(source, may_miss=False)], names_of(found[0], hosts, settings), (destination.host,))


def _linked(name: str, disk: Disk, vm: Vm, place: Place, settings: Settings, order: int) -> list[str]:
    attached = commands.attach(name, object_of(disk, vm.id, settings), disk, order)
    return commands.link(attached, place)
