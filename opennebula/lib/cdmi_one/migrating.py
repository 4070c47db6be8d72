"""PREMIGRATE, POSTMIGRATE, FAILMIGRATE: live migration, for all disks of a VM at once.

A system datastore's script calls these for the disks of other drivers, and swallows what they say; after a failure of
libvirt's nobody may be called at all. So what is attached at the destination is on loan until it is confirmed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from cdmi_one import commands
from cdmi_one.clones import object_of
from cdmi_one.failure import Failure
from cdmi_one.places import Place, attachment, place_of
from cdmi_one.remote import run
from cdmi_one.settings import load
from cdmi_one.vm import Vm, from_base64


def premigrate(words: Sequence[str]) -> None:
    """`SRC_HOST DST_HOST DIRECTORY VM DATASTORE [CALLER]`, the VM on standard input: attach at the destination too."""
    vm, settings, order = _vm(), load(), commands.generation()
    if not vm.ours or words[0] == words[1]:
        return
    lines = []
    for disk in vm.ours:
        source = object_of(disk, vm.id, settings)
        name = attachment(vm.id, disk.number)
        attached = commands.attach(name, source, disk, order, lease_s=settings.lease_s)
        lines.append(f"( {attached} ) >/dev/null")
    try:
        run(words[1], lines)
    except Failure:
        with suppress(Failure):  # what was said first counts
            run(words[1], _detached(vm, order))
        raise


def postmigrate(words: Sequence[str]) -> None:
    """As `premigrate`: the VM runs at the destination, the source lets go.

    Within one host it has gone to another system datastore, of whose directory there is only what kvm/migrate copied.
    """
    vm, order = _vm(), commands.generation()
    if not vm.ours:
        return
    if words[0] == words[1]:
        run(words[1], _linked(vm, place_of(f"{words[1]}:{words[2]}"), order))
        return
    failures = []
    for host, lines in ((words[1], _each(vm, order, commands.confirm)), (words[0], _detached(vm, order))):
        try:
            run(host, lines)
        except Failure as failure:  # the other host has to hear of it all the same
            failures.append(failure)
    if failures:
        raise failures[0]


def failmigrate(words: Sequence[str]) -> None:
    """As `premigrate`: the VM has stayed where it was, the destination lets go."""
    vm, order = _vm(), commands.generation()
    if vm.ours and words[0] != words[1]:
        run(words[1], _detached(vm, order))


def _linked(vm: Vm, directory: Place, order: int) -> list[str]:
    """The links of the disks in a directory of the host where they are attached."""
    settings, lines = load(), list[str]()
    for disk in vm.ours:
        name, source = attachment(vm.id, disk.number), object_of(disk, vm.id, settings)
        place = replace(directory, path=f"{directory.path}/disk.{disk.number}", number=disk.number)
        lines += commands.link(commands.attach(name, source, disk, order), place)
    return lines


def _vm() -> Vm:
    return from_base64(sys.stdin.read())


def _detached(vm: Vm, order: int) -> list[str]:
    return _each(vm, order, commands.detach)


def _each(vm: Vm, order: int, act: Callable[[str, int], str]) -> list[str]:
    """The same for every disk, whatever becomes of the others: the last failure is what is told."""
    lines = [act(attachment(vm.id, disk.number), order) for disk in vm.ours]
    tried = [f"said=$({line} 2>&1 >/dev/null) || {{ s=$?; why=$said; }}" for line in lines]
    return ["s=0", *tried, '[ $s = 0 ] || echo "$why" >&2', "exit $s"]
