"""NFS: from an export and the path of a file below it to one disk (or the file itself), and back to nothing."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from attachers import lun, nfs_options, unwritten
from attachers.base import Act, Context, Decision, Device, Fail, Goal, Gone, Keep, Look, PathInfo, Ready, Wait, may_free
from attachers.nfs_plan import BLOCK_DEVICE as BLOCK_DEVICE
from attachers.nfs_plan import FILE as FILE
from attachers.nfs_plan import Plan as Plan
from attachers.nfs_plan import plan_of as plan_of
from attachers.nfs_share import BLOCK, KIND, FileId
from attachers.problems import REMEDY_OF_DIRTY, Code, Problem
from attachers.sights import NfsFile, NfsMount, NfsQuery, NfsSight, Opening, Query, ScsiPath, Sight, Trouble
from attachers.steps import (
    GiveUp,
    GrowDisk,
    MakeDisk,
    Mount,
    Publish,
    PublishFile,
    RemoveDisk,
    Step,
    Unmount,
    Unpublish,
    WriteOutFile,
)

protocol = "nfs"
comes_back = False
asks_again = True
_FOR_ROOT = "let the server export it to root of this host (no_root_squash; root_hosts of the export in CDMI)"


def query(name: str, plan: Mapping[str, Any], *, goal: Goal) -> Query:
    """Look at mount, file and disk; on the way out not at the file, for which a dead server would have to answer."""
    return _query(name, plan_of(plan), path=goal is Goal.ATTACHED)


def _query(name: str, plan: Plan, *, path: bool, holders: bool = False, open_for: str = "") -> NfsQuery:
    wwid, path_ = plan.wwid if plan.present == BLOCK_DEVICE else None, plan.path if path else ""
    unit = None if wwid else plan.wwid
    return NfsQuery(name, plan.share, path_, wwid, holders=holders, open_for=open_for, number=plan.fileid, unit=unit)


def needs(plan: Mapping[str, Any]) -> frozenset[str]:
    """The mount, the file, and the disk made of it, unless the file itself is handed out."""
    p = plan_of(plan)
    return frozenset({_mount_key(p), _file_key(p)} | ({_disk_key(p)} if p.present == BLOCK_DEVICE else set()))


def decide(goal: Goal, plan: Mapping[str, Any], sight: Sight, context: Context) -> Decision:
    """The one next thing on the way to the goal."""
    assert isinstance(sight, NfsSight)
    p = plan_of(plan)
    if wait := lun.wait_if_busy(sight.scsi, but=_stuck(p, context) if goal is Goal.GONE else ()):
        return wait
    return _attach(p, sight, context) if goal is Goal.ATTACHED else _detach(p, sight, context)


def _stuck(plan: Plan, context: Context) -> tuple[str, ...]:
    """What may be under way for as long as its server is silent, and need not be waited for where its loss is known."""
    stuck = (RemoveDisk(plan.share, plan.wwid), WriteOutFile(plan.share, plan.path, plan.wwid, plan.pin))
    return tuple(step.describe() for step in stuck) if context.force else ()


# On the way in: mount, file, disk, link.


def _attach(plan: Plan, sight: NfsSight, context: Context) -> Decision:
    if not sight.mounts:
        return lun.step(Mount(plan.share, plan.options, plan.downgrade), context)
    if problem := _wrong_mount(plan, sight.mounts, context):
        return Fail(problem)
    if sight.file is None:
        return Wait(f"a look at {plan.text}", Problem(Code.DEVICE_TIMEOUT, f"{plan.text} was not looked at"))
    if next_ := _unusable(plan, sight, sight.file, context) or _unproved(plan, sight, sight.file, context):
        return next_
    if plan.present == FILE:
        return _hand_out_file(plan, sight, sight.file, context)
    return _hand_out_disk(plan, sight, sight.file, context)


def _wrong_mount(plan: Plan, mounts: tuple[NfsMount, ...], context: Context) -> Problem | None:
    """Why what is mounted at our place may not be used: not one mount, not this share, or not mounted this way."""
    point, (mount, *others) = plan.share.point, mounts
    hint = f"see findmnt {point}; unmount what is not of this daemon"
    if others:
        return Problem(Code.CONFLICT, f"{len(mounts)} mounts are stacked at {point}", hint=hint)
    if (mount.source, mount.kind) != (plan.share.source, KIND):
        return Problem(Code.CONFLICT, f"{mount.source} ({mount.kind}) is mounted at {point}", hint=hint)
    if lacking := nfs_options.missing(mount.options):
        return Problem(Code.CONFLICT, f"the mount at {point} has not {', '.join(lacking)}", hint=hint)
    if "ro" in mount.options.split(",") and not context.read_only:
        return Problem(Code.TARGET_REFUSED, f"{mount.source} is mounted read-only", hint="ask for access ro")
    version = nfs_options.version_in(mount.options)
    if version not in plan.share.minors(downgrade=plan.downgrade):
        detail = f"{mount.source} is mounted with NFS {version}, and the export says {plan.version}"
        hint = "correct the export's protocol on the server, or set allow_downgrade in [nfs]"
        return Problem(Code.TARGET_REFUSED, detail, hint=hint)
    return None


def _unusable(plan: Plan, sight: NfsSight, file: NfsFile, context: Context) -> Decision | None:
    """What is next because the file cannot be used as it is; None when it can."""
    match file.trouble:
        case Trouble.SILENT:
            text = f"{plan.text}: {file.words}"
            hint = f"see whether the NFS server {plan.server} is well, and reached from this host"
            return Wait(text, Problem(Code.TARGET_TIMEOUT, text, hint=hint))
        case Trouble.STALE:
            return _renew(plan, sight, context)
        case Trouble.MISSING | Trouble.ODD:
            hint = "correct the export's path on the server, or let it export the container that has the object"
            return _withdraw(plan, sight, context, Problem(Code.WRONG_DEVICE, f"{plan.text} {file.words}", hint=hint))
        case Trouble.DENIED:
            hint = f"{_FOR_ROOT}, or give others the right to search the folders above it"
            return Fail(Problem(Code.TARGET_REFUSED, f"{plan.text} {file.words}", hint=hint))
    return None


def _unproved(plan: Plan, sight: NfsSight, file: NfsFile, context: Context) -> Decision | None:
    """What is next because it is not the file that it has to be, or not as large; None when it is."""
    if plan.pin is None:
        return Keep({"fsid": file.fsid, "fileid": file.inode})
    if file.id != plan.pin:
        return _withdraw(plan, sight, context, _another(plan, plan.pin, file))
    if file.size < max(plan.size, 1):
        text = f"{plan.text} has {file.size} bytes, and the object has {plan.size or 'more than none'}"
        return Wait(text, Problem(Code.WRONG_DEVICE, text, hint="the server exports another file there"))
    return None


def _another(plan: Plan, pin: FileId, file: NfsFile) -> Problem:
    """What is said of another file at the same path. A file system with another fsid, too, is another one: a copy or a
    snapshot of a file system has the same numbers in it, and old data.
    """
    text = f"{plan.text} is another file than the one that was handed out: {file.id}, and it was {pin}"
    hint = "the server has replaced it: see that it is the right one, then detach, and attach again"
    if file.inode == pin.number:
        hint = "where the server only exports the same file system anew (give the export a fixed fsid=), detach, and"
        hint = f"{hint} attach again; else see which file system it exports there"
    return Problem(Code.WRONG_DEVICE, text, hint=hint)


def _withdraw(plan: Plan, sight: NfsSight, context: Context, problem: Problem) -> Decision:
    """Refuse; a link that leads to a file by its name is taken away first, since whoever opens it gets another one."""
    unpublish = Unpublish(context.name, None)
    if plan.present == FILE and sight.scsi.link is not None and unpublish not in context.failed:
        return Act(unpublish)
    return Fail(problem)


def _renew(plan: Plan, sight: NfsSight, context: Context) -> Decision:
    """The server has forgotten what the mount leads to: mount it anew, once, where nobody has anything of it."""
    unmount = Unmount(plan.share)
    (mount,) = sight.mounts
    alone = mount.ours and sight.disk is None and sight.scsi.link is None and _mount_key(plan) not in context.needed
    if alone and unmount not in context.done:
        return Act(unmount)
    text = f"{plan.text}: the server does not know its handle any more (stale)"
    hint = "detach whatever uses this export here, then attach it again; see whether it was exported anew"
    return Fail(Problem(Code.TARGET_REFUSED, text, hint=hint))


def _hand_out_file(plan: Plan, sight: NfsSight, file: NfsFile, context: Context) -> Decision:
    open_for, place = "ro" if context.read_only else "rw", plan.share.file(plan.path)
    if file.opening is Opening.UNTRIED:
        return Look(_query(context.name, plan, path=True, open_for=open_for))
    if file.opening is Opening.READ_ONLY:
        text = f"{plan.text} cannot be opened for writing: the server exports it read-only"
        return Fail(Problem(Code.TARGET_REFUSED, text, hint="let the server export it writable, or ask for access ro"))
    if sight.scsi.link != place:
        if refused := _refuse_writers(plan, file, context, open_for=open_for):
            return refused
        return lun.step(PublishFile(context.name, plan.share, plan.path, plan.pin), context)
    if file.size < (context.grow or 0):
        text = f"{plan.text} to have {context.grow} bytes (it has {file.size} now)"
        hint = "see that the NFS server shows the new size, then try again"
        return Wait(text, Problem(Code.DEVICE_TIMEOUT, f"time ran out waiting for {text}", hint=hint))
    version = nfs_options.version_in(sight.mounts[0].options)
    path = PathInfo(place, "", f"{plan.share.source} (NFS {version})", "mounted")
    device = Device(FILE, place, place, None, file.size, context.read_only, (path,))
    return Ready(device, verified=True, note=_root_may_not(open_for) if file.opening is Opening.DENIED else "")


def _refuse_writers(plan: Plan, file: NfsFile, context: Context, *, open_for: str = "") -> Decision | None:
    """What somebody on this host has open for writing is not handed out for writing as well (case 79).

    Not asked of a file that other attachments here have, nor of one that is only handed out again: its mount stands,
    and whoever we gave it to may have it open still.
    """
    again = context.stood and not any(isinstance(done, Mount) for done in context.done)
    if context.read_only or again or _file_key(plan) in context.needed:
        return None
    if file.writers is None:
        return Look(_query(context.name, plan, path=True, holders=True, open_for=open_for))
    return Fail(_in_use(plan, file.writers)) if file.writers else None


def _in_use(plan: Plan, users: tuple[str, ...]) -> Problem:
    text = f"{plan.text} is in use by {', '.join(users)}"
    return Problem(Code.IN_USE, text, hint="stop or detach the user of the file, then try again")


def _root_may_not(open_for: str) -> str:
    """What a caller should know of a file that is handed out and that root here may not open; its user may."""
    what = "read and written" if open_for == "rw" else "read"
    text = "root of this host may not open the file (root_squash), so that it was not proved that it can be"
    unheard = ", and an error when it is written out at its detach is not heard" if open_for == "rw" else ""
    return f"{text} {what}{unheard}; whoever uses it needs the rights of its owner, or {_FOR_ROOT}"


def _hand_out_disk(plan: Plan, sight: NfsSight, file: NfsFile, context: Context) -> Decision:
    size = max(file.size, context.grow or 0)  # what was seen of the file may be a minute old
    if size % BLOCK:
        text = f"{plan.text} has {size} bytes, which is no multiple of {BLOCK}"
        return Fail(Problem(Code.WRONG_DEVICE, text, hint="ask for present=file, or let the object be resized"))
    if problem := _wrong_disk(plan, sight, file):
        return Fail(problem)
    if sight.disk is None or not sight.disk.whole:
        if refused := _refuse_writers(plan, file, context):
            return refused
        discard = plan.discard and nfs_options.can_discard(sight.mounts[0].options)
        return lun.step(MakeDisk(plan.share, plan.path, plan.wwid, file.size, discard, plan.pin), context)
    if not sight.scsi.paths:
        text = f"the kernel to show the disk {plan.wwid}"
        return Wait(text, Problem(Code.DEVICE_TIMEOUT, f"time ran out waiting for {text}", hint="see its log"))
    unit, path = lun.Unit(plan.text, plan.wwid, plan.size), sight.scsi.paths[0]
    proved = lun.prove(unit, path, context, needed=True)
    if not isinstance(proved, str):
        return proved
    if context.grow is not None:
        if sight.disk.size < size:
            return lun.step(GrowDisk(plan.share, plan.path, plan.wwid, size), context)
        context = replace(context, grow=size)
    return lun.hand_out(unit, path, proved, sight.scsi, context)


def _wrong_disk(plan: Plan, sight: NfsSight, file: NfsFile) -> Problem | None:
    """Why the disk that stands there may not be handed out: it is not ours, or of another file."""
    disk = sight.disk
    if disk is None:
        return None
    if not disk.ours:
        text = f"LIO has a disk {plan.wwid} already, of {disk.file}, that was not made by this daemon"
        return Problem(Code.CONFLICT, text, hint="see targetcli ls; whoever made it has to remove it")
    if disk.whole and (disk.file, disk.inode) != (plan.share.file(plan.path), file.inode):
        text = f"{plan.text} is another file than the disk {plan.wwid} was made of"
        return Problem(Code.WRONG_DEVICE, text, hint="the server has replaced it: detach, then attach again")
    return None


# On the way out: link, disk, mount; each only if we made it and nobody else needs it.


def _detach(plan: Plan, sight: NfsSight, context: Context) -> Decision:
    free = may_free(needs(plan.as_json()), _created(plan, sight), context.needed)
    if sight.scsi.dirty and not context.may_lose and _disk_key(plan) not in context.needed:
        return Fail(unwritten.dirty(plan.text), restore=_put_back(plan, sight, context))
    if sight.scsi.link is not None:
        wwid = plan.wwid if plan.present == BLOCK_DEVICE and _disk_key(plan) not in context.needed else None
        refused = lun.users_of(sight.scsi, _query(context.name, plan, path=False)) if wwid else None
        refused = refused or _refuse_users(plan, sight, context)
        return refused or lun.step(Unpublish(context.name, wwid), context)
    handed_out = context.stood or any(isinstance(done, Unpublish) for done in context.done)
    if handed_out and (next_ := _refuse_users(plan, sight, context)):
        return next_
    if sight.disk and _disk_key(plan) in free:
        remove = RemoveDisk(plan.share, plan.wwid)
        given_up = context.force and (context.could_not_write_out(remove) or bool(sight.scsi.busy))
        if (context.may_lose and sight.scsi.dirty) or given_up:
            remove = replace(remove, lost=True)
        return lun.step(remove, context, restore=_put_back(plan, sight, context))
    if next_ := _write_out_file(plan, sight, context):
        return next_
    if sight.scsi.dirty and _disk_key(plan) not in context.needed and _file_key(plan) not in context.needed:
        return lun.step(GiveUp(plan.wwid), context)
    if sight.mounts and _mount_key(plan) in free:
        return _awaited(plan, sight, context) or _unmount(plan, sight, context)
    return Gone()


def _write_out_file(plan: Plan, sight: NfsSight, context: Context) -> Decision | None:
    """What is cached of a file that was handed out itself is written out while there is somebody to tell of an error.

    By whoever may have written, though others still need the file, for its detach is the one that is answered; and by
    the last one, for whom it may have been written to under another name. Not where the server does not answer, or has
    another file there by now: then it is for the unmount.
    """
    file, step = sight.file, WriteOutFile(plan.share, plan.path, plan.wwid, plan.pin)
    if plan.present != FILE or not context.used or (context.read_only and _file_key(plan) in context.needed):
        return None
    if not _is_mounted(plan, sight) or not sight.mounts[0].ours:
        return None
    if file is None:
        return Look(_query(context.name, plan, path=True))
    if wait := _awaited(plan, sight, context):
        return wait
    if file.trouble or plan.pin not in (None, file.id):
        return None
    if (context.may_lose and sight.scsi.dirty) or (context.force and context.could_not_write_out(step)):
        step = replace(step, lost=True)
    if step in context.done and step not in context.unsure and step not in context.failed:
        return None
    if step in context.failed and context.force:
        return None
    taken = any(isinstance(done, Unpublish) for done in context.done)
    restore = PublishFile(context.name, plan.share, plan.path, plan.pin) if taken else None
    return lun.step(step, context, restore=restore)


def _awaited(plan: Plan, sight: NfsSight, context: Context) -> Wait | None:
    """What is cached of a file that was handed out itself waits for its server, and so do we (attach.md, case 98)."""
    file = sight.file
    if plan.present != FILE or file is None or file.trouble is not Trouble.SILENT:
        return None
    if context.may_lose or context.read_only:
        return None
    text = f"{plan.text} may not have been written out: {file.words}"
    return Wait(text, Problem(Code.DIRTY, text, hint=REMEDY_OF_DIRTY))


def _refuse_users(plan: Plan, sight: NfsSight, context: Context) -> Decision | None:
    """A file that was handed out itself is not taken from under whoever has it open."""
    if plan.present != FILE or _file_key(plan) in context.needed:
        return None
    if len(sight.mounts) > 1:
        return Fail(_stacked(plan, sight))
    if not _is_mounted(plan, sight):
        return None
    if sight.file is None or sight.file.holders is None:
        return Look(_query(context.name, plan, path=True, holders=True))
    if not sight.file.holders:
        return None
    problem = _in_use(plan, sight.file.holders)
    if plan.pin not in (None, sight.file.id):  # who has it open has the one that was there: no link to this one stays
        return Fail(problem) if sight.file.trouble else _withdraw(plan, sight, context, problem)
    taken = any(isinstance(done, Unpublish) for done in context.done)
    return Fail(problem, restore=PublishFile(context.name, plan.share, plan.path, plan.pin) if taken else None)


def _is_mounted(plan: Plan, sight: NfsSight) -> bool:
    """Whether it is the share, and nothing else, that is mounted at its place."""
    return [(mount.source, mount.kind) for mount in sight.mounts] == [(plan.share.source, KIND)]


def _unmount(plan: Plan, sight: NfsSight, context: Context) -> Decision:
    if len(sight.mounts) > 1:
        return Fail(_stacked(plan, sight))
    return lun.step(Unmount(plan.share), context)


def _stacked(plan: Plan, sight: NfsSight) -> Problem:
    point = plan.share.point
    text = f"{sight.mounts[-1].source} is mounted over {sight.mounts[0].source} at {point}"
    return Problem(Code.CONFLICT, text, hint=f"unmount what is not of this daemon: see findmnt {point}")


def _put_back(plan: Plan, sight: NfsSight, context: Context) -> Step | None:
    """The step that gives a refused detach its link back, if we had taken it and the disk is there."""
    path: ScsiPath | None = next(iter(sight.scsi.paths), None)
    taken = any(isinstance(done, Unpublish) for done in context.done)
    if not (taken and path and path.node and plan.wwid in path.designators):
        return None
    return Publish(context.name, path.hctl, plan.wwid, context.read_only, context.owner)


def _created(plan: Plan, sight: NfsSight) -> frozenset[str]:
    mounted = {_mount_key(plan)} if any(mount.ours for mount in sight.mounts) else set()
    return frozenset(mounted | ({_disk_key(plan)} if sight.disk and sight.disk.ours else set()))


def _mount_key(plan: Plan) -> str:
    return f"mount:{plan.share.point}"


def _file_key(plan: Plan) -> str:
    return f"file:{plan.share.file(plan.path)}"


def _disk_key(plan: Plan) -> str:
    return f"wwid:{plan.wwid}"
