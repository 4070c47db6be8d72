"""The real host: what the kernel, iscsid and libvirt show, and the steps that change it.

It is the raw host: it says of nothing that it is ours; `guarded` stands before it and keeps that record. It runs as
root on one event loop, which never does what may sleep in the kernel: that is for the workers. Everything is told by
sysfs and small files; the only processes are those of iscsiadm (2 for a new session, none for a further LUN, 1 to
log out).
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from agent.host import (
    blocks,
    dead,
    dm,
    domains,
    fc_sysfs,
    iscsiadm,
    links,
    linux_disks,
    linux_domains,
    linux_iscsi,
    linux_maps,
    linux_nfs,
    map_blocks,
    nfs_reach,
    node_db,
    path_proof,
    proofs,
    reading,
    routes,
    sysfs,
    wwids,
)
from agent.host.linux_nfs_steps import NfsSteps
from agent.host.lun_sights import LunSights
from agent.host.mountinfo import MountEvents
from agent.host.multipathd import Multipathd
from agent.host.nfs_reach import Reach
from agent.host.reading import Reader
from agent.host.roots import Roots
from agent.host.tools import Tools, left
from agent.host.uevents import Changes, Uevents
from agent.host.under_way import Operation, UnderWay, asked
from agent.workers.pool import Abandoned, Pool
from attachers.base import Uncertain
from attachers.problems import Code, Problem
from attachers.sights import (
    Ability,
    BlocksQuery,
    DomainQuery,
    FcQuery,
    HostQuery,
    HostSight,
    IscsiQuery,
    NfsQuery,
    Query,
    RecordQuery,
    RecordSight,
    RouteQuery,
    RouteSight,
    Sight,
)
from attachers.steps import (
    AnnounceMap,
    CreateRecord,
    DeleteRecord,
    Disown,
    ForgetMap,
    GiveDisk,
    GiveUp,
    GrowDisk,
    JoinMap,
    LeaveMap,
    Login,
    Logout,
    MakeDisk,
    Mount,
    Own,
    Publish,
    PublishFile,
    RemoveDevice,
    RemoveDisk,
    RemoveMap,
    Rescan,
    ResizeDisk,
    ResizeMap,
    Scan,
    Step,
    TakeDisk,
    Unmount,
    Unpublish,
    WriteOutFile,
)

ROUTE_S = 25.0
WRITTEN_OUT_S = 20.0
"""How long a write-out that goes on may keep the helper from its end; see STOP_S there."""
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **linux_domains.FUNCTIONS,
    **linux_nfs.FUNCTIONS,
    "route_to": routes.route_to,
    "flush_map": map_blocks.flush_map,
    "map_remove": dm.map_remove,
    "map_status": dm.map_status,
    "map_stop_queueing": dm.map_stop_queueing,
    "owner_numbers": blocks.owner_numbers,
    "prepare": blocks.prepare,
    "prepare_map": map_blocks.prepare_map,
    "prove_path": path_proof.prove_path,
    "read_blocks": reading.read_blocks,
    "remove": blocks.remove,
    "strike_off": wwids.strike_off,
    "users": blocks.users,
    "claimed": blocks.claimed,
    "rescan": blocks.rescan,
    "write": blocks.write,
}
"""What the workers of this host can do: `LinuxHost(Pool.start(FUNCTIONS))`."""


class LinuxHost:
    """The `Host` that is the machine itself. Make it on the running event loop, with a pool of `FUNCTIONS`."""

    def __init__(self, pool: Pool, roots: Roots | None = None) -> None:
        self._roots = roots or Roots()
        self._changes = Changes()
        self._pool = pool
        multipathd = Multipathd(self._roots)
        self._tools = Tools(self._roots, pool, self._changes, iscsiadm.Iscsiadm(self._roots), multipathd)
        self._under_way = UnderWay(self._changes)
        self._uevents = Uevents(self._changes, gone=self._drop_stale_claims)
        self._luns = LunSights(self._tools)
        self._reach = Reach(self._tools)
        self._nfs_steps = NfsSteps(self._reach)
        self._mount_events = MountEvents(self._roots.proc, self._changes.grow)
        self._tasks: set[asyncio.Task[None]] = set()
        self._reader = Reader(self._tools)
        pool.on_end = self._changes.grow
        node_db.clear_stale_lock(self._roots)
        node_db.report_broken(self._roots)
        proofs.take_over(self._roots)
        links.drop_stale_claims(self._roots)
        nfs_reach.drop_unused_points(self._roots)

    def _drop_stale_claims(self) -> None:
        """What comes at an address that has lost its disk is anybody's: a SCSI host's number is used again (ida)."""
        links.drop_stale_claims(self._roots, keep=self._under_way.scanned())

    @property
    def changes(self) -> int:
        """Grows with each uevent of disks, SCSI, iSCSI and FC, and with the end of each step."""
        return self._changes.count

    @property
    def alarms(self) -> int:
        """Grows with each that tells of something gone or become another."""
        return self._changes.alarms

    async def changed(self, since: int, *, timeout_s: float) -> None:
        """Return when `changes` is above `since`, or after `timeout_s`."""
        await self._changes.above(since, timeout_s=timeout_s)

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    async def close(self) -> None:
        """Stop listening and let the workers go. What is under way goes on: the host is found again by observing.

        Not so a write-out: its worker may go with us (systemd.kill(5)), and what it has not said nobody knows then (see
        `guarded_written`). So that is waited for, a while.
        """
        await self._under_way.written_out(limit_s=WRITTEN_OUT_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._uevents.close()
        self._mount_events.close()
        await self._pool.close()

    async def observe(self, query: Query) -> Sight:
        """Look; see `Host.observe`."""
        match query:
            case IscsiQuery() | FcQuery():
                return await self._luns.look(query, lambda ways: self._under_way.busy(asked(query, ways)))
            case NfsQuery():
                nfs = await linux_nfs.observe(self._reach, query, self._luns.disks)
                keys = frozenset(
                    {f"name:{query.name}", f"wwid:{query.wwid or query.unit}", f"mount:{query.share.point}"}
                )
                return replace(nfs, scsi=replace(nfs.scsi, busy=self._under_way.busy(keys)))
            case DomainQuery(domain):
                sight = await linux_domains.look(self._tools, domain)
                return replace(sight, busy=self._under_way.busy(frozenset({f"domain:{domain}"})))
            case BlocksQuery():
                return await self._reader.look(query)
            case HostQuery(iface):
                return self._host(iface)
            case RecordQuery():
                return RecordSight(dead=dead.find(self._tools.roots))
            case RouteQuery(server):
                return RouteSight(**await self._tools.look("route_to", {"server": server}, ROUTE_S))

    async def act(self, step: Step, *, timeout_s: float, then: Query | None = None) -> Sight | None:
        """Take a step; see `Host.act`. A step is not cancelled with its caller: it comes to its end or its deadline."""
        deadline = time.monotonic() + timeout_s
        if isinstance(step, RemoveMap) and step.lost:  # an earlier one may write out down no path at all
            await linux_maps.stop_queueing(self._tools, step, deadline)
        if isinstance(step, RemoveDisk | WriteOutFile) and step.lost:
            await self._nfs_steps.break_off(step)
        await self._wait_for_late(step, deadline)
        task = asyncio.create_task(self._watched(step, deadline), name=step.describe())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)
        return await self.observe(then) if then else None

    async def _wait_for_late(self, step: Step, deadline: float) -> None:
        """An earlier step on the same thing, whose outcome is uncertain, has to end first."""
        while True:
            since = self._changes.count
            late = self._under_way.late_on(step)
            if late is None:
                return
            if not left(deadline):
                raise Uncertain(f"{step.describe()} (still under way: {late})")
            await self._changes.above(since, timeout_s=left(deadline))

    async def _watched(self, step: Step, deadline: float) -> None:
        operation: Operation = self._under_way.begin(step)
        try:
            await self._take(step, deadline)
        except Abandoned as late:
            self._under_way.end_with(operation, late.ended)
            raise Uncertain(step.describe()) from None
        except Problem as problem:
            self._under_way.end(operation)
            problem.step = problem.step or step.describe()
            raise
        except OSError as error:  # a small file of ours: no room, ...
            self._under_way.end(operation)
            raise Problem(Code.UNAVAILABLE, f"{step.describe()}: {error}", step=step.describe()) from error
        except BaseException:
            self._under_way.end(operation)
            raise
        self._under_way.end(operation)

    async def _take(self, step: Step, deadline: float) -> None:
        match step:
            case CreateRecord():
                await linux_iscsi.create_record(self._tools, step, deadline)
            case Login():
                await linux_iscsi.log_in(self._tools, step, deadline)
            case Scan():
                links.drop_stale_claims(self._roots, keep=self._under_way.scanned())
                await linux_disks.scan(self._tools, step, deadline)
            case AnnounceMap() | JoinMap() | LeaveMap() | ResizeMap() | RemoveMap() | ForgetMap():
                await linux_maps.take(self._tools, step, deadline)
            case Publish():
                publish = linux_disks.publish if step.hctl else linux_maps.publish
                numbers = await publish(self._tools, step, deadline)
                if numbers:
                    self._luns.owned_as(numbers, step.owner)
            case Unpublish():
                await linux_disks.unpublish(self._tools, step, deadline)
            case RemoveDevice():
                await linux_disks.remove(self._tools, step, deadline)
            case GiveUp(wwid):
                (self._roots.unwritten / wwid).unlink(missing_ok=True)
            case Own():
                pass  # the record says it
            case Disown(targets, lun):
                links.drop_claims_of(self._roots, targets, lun)
                self._drop_stale_claims()
            case Rescan():
                await linux_disks.rescan(self._tools, step, deadline)
            case Logout():
                await linux_iscsi.log_out(self._tools, step, deadline)
                links.drop_stale_claims(self._roots, keep=self._under_way.scanned())
            case DeleteRecord():
                await linux_iscsi.delete_record(self._tools, step, deadline)
            case Mount() | Unmount() | MakeDisk() | GrowDisk() | RemoveDisk() | WriteOutFile() | PublishFile():
                await self._nfs_steps.take(step, deadline)
            case GiveDisk():
                await linux_domains.give(self._tools, step, deadline)
            case ResizeDisk():
                await linux_domains.tell_size(self._tools, step, deadline)
            case TakeDisk():
                await linux_domains.take_back(self._tools, step, deadline)

    # The host

    def _host(self, iface: str) -> HostSight:
        name, own_name = iscsiadm.initiator_name(self._roots, iface), iscsiadm.initiator_name(self._roots)
        no_iscsi, no_libvirt = iscsiadm.missing(self._roots), domains.missing(self._roots)
        wwpns = fc_sysfs.wwpns(self._roots)
        no_multipath = self._tools.multipathd.missing()
        return HostSight(
            hostname=socket.gethostname(),
            initiator_name=name,
            own_name="" if own_name == name else own_name,
            wwpns=wwpns,
            iscsi=Ability(not no_iscsi, no_iscsi),
            fc=Ability(bool(wwpns), "" if wwpns else fc_sysfs.NO_PORT),
            nfs=linux_nfs.ability(self._roots),
            libvirt=Ability(not no_libvirt, no_libvirt),
            kernel=os.uname().release,
            boot_id=sysfs.text(self._roots.proc / "sys/kernel/random/boot_id") or "",
            stragglers=len(self._pool.stragglers),
            multipath=Ability(not no_multipath, no_multipath),
        )
