"""The decisions of the NFS attacher as tables: what is seen, what was tried, and the one next thing."""

from dataclasses import replace
from typing import Any

import pytest

from attachers import nfs
from attachers.base import Act, Begin, Context, Decision, Fail, Goal, Gone, Keep, Look, Ready, Wait
from attachers.nfs_share import FileId, Share, serial_in, serial_of, wwid_of
from attachers.problems import Code, Problem
from attachers.sights import FileDisk, NfsFile, NfsMount, NfsQuery, NfsSight, Opening, ScsiPath, ScsiSight, Trouble
from attachers.steps import (
    DEVICES,
    GrowDisk,
    MakeDisk,
    Mount,
    Publish,
    PublishFile,
    RemoveDisk,
    Rescan,
    Step,
    Unmount,
    Unpublish,
)

SIZE = 1 << 20
PLAN = nfs.Plan("10.0.0.1", "/srv", "a/disk.img", "4.2", "ID", SIZE, options="hard", fsid="1f:0", fileid=77)
FILE_PLAN = replace(PLAN, present="file")
SHARE, WWID, HCTL = PLAN.share, PLAN.wwid, "7:0:1:0"
PLACE = SHARE.file("a/disk.img")
OPTIONS = "rw,nosuid,nodev,noexec,nosymfollow,vers=4.2,hard"
MOUNT = NfsMount(41, "10.0.0.1:/srv", "nfs4", OPTIONS, ours=True)
FILE = NfsFile(SIZE, 77, fsid="1f:0", writers=())
OTHER = replace(FILE, inode=78)
PIN = FileId("1f:0", 77)
DISK = FileDisk(PLACE, 77, SIZE, whole=True, ours=True)
PATH = ScsiPath(HCTL, MOUNT.source, "/dev/sda", "running", SIZE, False, WWID, frozenset({WWID}), ours=True)
MOUNTED = NfsSight((MOUNT,), FILE)
MADE = NfsSight((MOUNT,), FILE, DISK, ScsiSight(paths=(PATH,)))
LINKED = replace(MADE, scsi=ScsiSight(paths=(PATH,), link=f"{DEVICES}/{WWID}", device_link="/dev/sda"))
OPEN = replace(FILE, opening=Opening.DONE)
FILE_LINKED = NfsSight((MOUNT,), OPEN, scsi=ScsiSight(link=PLACE))

MOUNT_IT, UNMOUNT = Mount(SHARE, "hard"), Unmount(SHARE)
MAKE, REMOVE = MakeDisk(SHARE, "a/disk.img", WWID, SIZE, discard=True, pin=PIN), RemoveDisk(SHARE, WWID)
PUBLISH, UNPUBLISH = Publish("vm", HCTL, WWID, False, ""), Unpublish("vm", WWID)
PUBLISH_FILE, UNPUBLISH_FILE = PublishFile("vm", SHARE, "a/disk.img", PIN), Unpublish("vm", None)
MOUNT_KEY, FILE_KEY, DISK_KEY = f"mount:{SHARE.point}", f"file:{PLACE}", f"wwid:{WWID}"
BROKEN = Problem(Code.TARGET_TIMEOUT, "no answer")


def tried(*done: Step, failed: tuple[Step, ...] = (), **more: Any) -> Context:
    """A context in which these steps were taken."""
    return Context("vm", done=(*done, *failed), failed=dict.fromkeys(failed, BROKEN), **more)


def others(*keys: str, **more: Any) -> Context:
    """A context in which others need these."""
    return tried(needed=frozenset(keys), **more)


def file(**changes: Any) -> NfsSight:
    """Mounted, with the file changed."""
    return replace(MOUNTED, file=replace(FILE, **changes))


def linked(**changes: Any) -> NfsSight:
    """A file that is handed out itself, changed."""
    return replace(FILE_LINKED, file=replace(OPEN, **changes))


def mount(sight: NfsSight = MOUNTED, **changes: Any) -> NfsSight:
    """The mount changed."""
    return replace(sight, mounts=(replace(MOUNT, **changes),))


def disk(**changes: Any) -> NfsSight:
    """The disk changed."""
    return replace(MADE, disk=replace(DISK, **changes))


def path(**changes: Any) -> NfsSight:
    """The disk's SCSI path changed."""
    return replace(MADE, scsi=ScsiSight(paths=(replace(PATH, **changes),)))


def short(decision: Decision) -> object:
    """A decision as the tables have it."""
    match decision:
        case Act(step):
            return step
        case Fail(problem):
            return problem.code
        case Begin() | Look() | Keep() | Wait() | Ready() | Gone():
            return type(decision)


OVER = NfsMount(52, "10.0.0.9:/other", "nfs4", OPTIONS)
OLD = OPTIONS.replace("4.2", "4.1")
DOWN = replace(PLAN, downgrade=True)
ANY = replace(PLAN, version="4")
NEW = replace(PLAN, fsid="", fileid=0)
OPENED = NfsSight((MOUNT,), OPEN)
READS = tried(read_only=True)
GROW, GROWN = tried(grow=2 * SIZE), replace(FILE, size=2 * SIZE)
GROW_DISK = GrowDisk(SHARE, "a/disk.img", WWID, 2 * SIZE)
ATTACH: dict[str, tuple[nfs.Plan, NfsSight, Context, object]] = {
    "nothing there": (PLAN, NfsSight(), tried(), MOUNT_IT),
    "something under way": (PLAN, NfsSight(scsi=ScsiSight(busy=("mount",))), tried(), Wait),
    "the server refused (58)": (PLAN, NfsSight(), tried(failed=(MOUNT_IT,)), Code.TARGET_TIMEOUT),
    "stacked (64)": (PLAN, replace(MOUNTED, mounts=(MOUNT, OVER)), tried(), Code.CONFLICT),
    "stacked, twice the same (64)": (PLAN, replace(MOUNTED, mounts=(MOUNT, MOUNT)), tried(), Code.CONFLICT),
    "another share at our place (61)": (PLAN, mount(source="10.0.0.9:/srv"), tried(), Code.CONFLICT),
    "another file system at our place (61)": (PLAN, mount(kind="tmpfs"), tried(), Code.CONFLICT),
    "somebody's mount without nosuid": (PLAN, mount(options="rw,nodev,noexec,vers=4.2"), tried(), Code.CONFLICT),
    "somebody's mount of the share": (PLAN, mount(ours=False), tried(), MAKE),
    "a lower version (61)": (PLAN, mount(options=OLD), tried(), Code.TARGET_REFUSED),
    "a lower version, allowed": (DOWN, mount(options=OLD), tried(), replace(MAKE, discard=False)),
    "a version of any": (ANY, mount(options=OLD), tried(), MakeDisk(ANY.share, ANY.path, WWID, SIZE, pin=PIN)),
    "no discards by configuration (94)": (replace(PLAN, discard=False), MOUNTED, tried(), replace(MAKE, discard=False)),
    "mounted read-only": (PLAN, mount(options=f"ro,{OPTIONS}"), tried(), Code.TARGET_REFUSED),
    "not looked at": (PLAN, replace(MOUNTED, file=None), tried(), Wait),
    "silent (57)": (PLAN, file(trouble=Trouble.SILENT, words="no answer"), tried(), Wait),
    "not there": (PLAN, file(trouble=Trouble.MISSING), tried(), Code.WRONG_DEVICE),
    "a symbolic link": (PLAN, file(trouble=Trouble.ODD), tried(), Code.WRONG_DEVICE),
    "stale (60)": (PLAN, file(trouble=Trouble.STALE), tried(), UNMOUNT),
    "stale again (60)": (PLAN, file(trouble=Trouble.STALE), tried(UNMOUNT), Code.TARGET_REFUSED),
    "stale, needed (60)": (PLAN, file(trouble=Trouble.STALE), others(MOUNT_KEY), Code.TARGET_REFUSED),
    "stale, somebody's (60)": (PLAN, mount(file(trouble=Trouble.STALE), ours=False), tried(), Code.TARGET_REFUSED),
    "stale under a disk (60)": (
        PLAN,
        replace(MADE, file=NfsFile(trouble=Trouble.STALE)),
        tried(),
        Code.TARGET_REFUSED,
    ),
    "too small": (PLAN, file(size=SIZE - 512), tried(), Wait),
    "empty": (replace(PLAN, size=0), file(size=0), tried(), Wait),
    "larger": (PLAN, file(size=2 * SIZE), tried(), replace(MAKE, size=2 * SIZE)),
    "larger than it was decided on (94)": (
        PLAN,
        file(size=2 * SIZE),
        tried(failed=(MAKE,)),
        replace(MAKE, size=2 * SIZE),
    ),
    "no multiple of a block": (PLAN, file(size=SIZE + 1), tried(), Code.WRONG_DEVICE),
    "mounted": (PLAN, MOUNTED, tried(), MAKE),
    "making failed": (PLAN, MOUNTED, tried(failed=(MAKE,)), Code.TARGET_TIMEOUT),
    "half made": (PLAN, disk(whole=False), tried(MAKE), MAKE),
    "somebody's disk": (PLAN, disk(ours=False), tried(), Code.CONFLICT),
    "a disk of another file": (PLAN, disk(file="/run/cdmi-attach/mnt/x/b"), tried(), Code.WRONG_DEVICE),
    "a disk of the file that was there before": (PLAN, disk(inode=78), tried(), Code.WRONG_DEVICE),
    "not pinned yet (93)": (NEW, MOUNTED, tried(), Keep),
    "another file (93)": (PLAN, file(inode=78), tried(), Code.WRONG_DEVICE),
    "another file system (93)": (PLAN, file(fsid="20:0"), tried(), Code.WRONG_DEVICE),
    "another file, under a disk (93)": (PLAN, replace(LINKED, file=OTHER), tried(), Code.WRONG_DEVICE),
    "another file, too small (93)": (PLAN, file(inode=78, size=512), tried(), Code.WRONG_DEVICE),
    "another file, linked (93)": (FILE_PLAN, linked(inode=78), tried(), UNPUBLISH_FILE),
    "another file, the link taken (93)": (FILE_PLAN, file(inode=78), tried(UNPUBLISH_FILE), Code.WRONG_DEVICE),
    "another file, its link stays": (FILE_PLAN, linked(inode=78), tried(failed=(UNPUBLISH_FILE,)), Code.WRONG_DEVICE),
    "no file any more, linked (93)": (FILE_PLAN, linked(trouble=Trouble.MISSING), tried(), UNPUBLISH_FILE),
    "root may not look at it": (PLAN, file(trouble=Trouble.DENIED), tried(), Code.TARGET_REFUSED),
    "a file that nobody opened yet": (FILE_PLAN, MOUNTED, tried(), Look),
    "a file, exported read-only": (FILE_PLAN, file(opening=Opening.READ_ONLY), tried(), Code.TARGET_REFUSED),
    "a file that root may not open": (FILE_PLAN, file(opening=Opening.DENIED), tried(), PUBLISH_FILE),
    "no path": (PLAN, replace(MADE, scsi=ScsiSight()), tried(), Wait),
    "no node": (PLAN, path(node=None), tried(), Wait),
    "it does not answer": (PLAN, path(designators=frozenset()), tried(), Wait),
    "another answers": (PLAN, path(designators=frozenset({"naa.6001405000000001"})), tried(), Code.WRONG_DEVICE),
    "verified": (PLAN, MADE, tried(), PUBLISH),
    "published": (PLAN, LINKED, tried(), Ready),
    "grown": (PLAN, replace(LINKED, file=GROWN), GROW, GROW_DISK),
    "grown, LIO told": (PLAN, replace(disk(size=2 * SIZE), file=GROWN, scsi=LINKED.scsi), GROW, Rescan(HCTL, WWID)),
    "grown, as the server says": (PLAN, LINKED, GROW, GROW_DISK),
    "grown, but for the file": (PLAN, LINKED, tried(failed=(GROW_DISK,), grow=2 * SIZE), Code.TARGET_TIMEOUT),
    "grown by half a block": (PLAN, LINKED, tried(grow=SIZE + 256), Code.WRONG_DEVICE),
    "not grown": (PLAN, LINKED, tried(Rescan(HCTL, WWID), grow=SIZE), Ready),
    "a file, grown": (FILE_PLAN, linked(size=2 * SIZE), GROW, Ready),
    "a file, not grown yet": (FILE_PLAN, FILE_LINKED, GROW, Wait),
    "read-only": (PLAN, MADE, READS, Publish("vm", HCTL, WWID, True, "")),
    "a file": (FILE_PLAN, OPENED, tried(), PUBLISH_FILE),
    "a file of any size": (FILE_PLAN, file(size=SIZE + 1, opening=Opening.DONE), tried(), PUBLISH_FILE),
    "a file, handed out": (FILE_PLAN, FILE_LINKED, tried(), Ready),
    "a file, the link leads elsewhere": (
        FILE_PLAN,
        replace(FILE_LINKED, scsi=ScsiSight(link="/x")),
        tried(),
        PUBLISH_FILE,
    ),
    "a file, publishing failed": (FILE_PLAN, OPENED, tried(failed=(PUBLISH_FILE,)), Code.TARGET_TIMEOUT),
    "nobody asked who writes to it (79)": (PLAN, file(writers=None), tried(), Look),
    "somebody writes to it (79)": (PLAN, file(holders=("qemu",), writers=("qemu",)), tried(), Code.IN_USE),
    "somebody reads it": (PLAN, file(holders=("tar",)), tried(), MAKE),
    "somebody writes to it, and it is to be read": (PLAN, file(writers=None), tried(read_only=True), MAKE),
    "others of ours write to it": (PLAN, file(writers=None), others(FILE_KEY), MAKE),
    "a file that somebody writes to (79)": (FILE_PLAN, linked(writers=("qemu",)), tried(), Ready),
    "a file that somebody writes to, not handed out (79)": (
        FILE_PLAN,
        file(opening=Opening.DONE, writers=("qemu",)),
        tried(),
        Code.IN_USE,
    ),
    "a file that its user writes to, the link lost": (
        FILE_PLAN,
        file(opening=Opening.DONE, writers=("qemu",)),
        tried(stood=True),
        PUBLISH_FILE,
    ),
    "a file that somebody writes to after a boot (79)": (
        FILE_PLAN,
        file(opening=Opening.DONE, writers=("qemu",)),
        tried(MOUNT_IT, stood=True),
        Code.IN_USE,
    ),
}
GIVEN_BACK = replace(MADE, file=None)
SILENT_FILE = file(trouble=Trouble.SILENT, holders=())
OTHER_LINKED = replace(FILE_LINKED, file=replace(OTHER, holders=("qemu",)))
OTHER_TAKEN = replace(OTHER_LINKED, scsi=ScsiSight())
DETACH: dict[str, tuple[nfs.Plan, NfsSight, Context, object]] = {
    "nothing there": (PLAN, NfsSight(), tried(), Gone),
    "something under way": (PLAN, replace(LINKED, scsi=ScsiSight(busy=("make",))), tried(), Wait),
    "published": (PLAN, LINKED, tried(), Look),
    "published, nobody uses it": (PLAN, replace(LINKED, scsi=replace(LINKED.scsi, users=())), tried(), UNPUBLISH),
    "published, somebody uses it": (
        PLAN,
        replace(LINKED, scsi=replace(LINKED.scsi, users=("qemu",))),
        tried(),
        Code.IN_USE,
    ),
    "published, needed": (PLAN, LINKED, others(DISK_KEY, FILE_KEY, MOUNT_KEY), Unpublish("vm", None)),
    "a disk": (PLAN, GIVEN_BACK, tried(), REMOVE),
    "a disk in use": (PLAN, GIVEN_BACK, tried(UNPUBLISH, failed=(REMOVE,)), Code.TARGET_TIMEOUT),
    "a disk, half made": (PLAN, disk(whole=False), tried(), REMOVE),
    "a disk, needed": (PLAN, GIVEN_BACK, others(DISK_KEY, FILE_KEY, MOUNT_KEY), Gone),
    "somebody's disk and mount": (PLAN, mount(disk(ours=False), ours=False), tried(), Gone),
    "a mount": (PLAN, NfsSight((MOUNT,)), tried(), UNMOUNT),
    "a mount in use (59)": (PLAN, NfsSight((MOUNT,)), tried(failed=(UNMOUNT,)), Code.TARGET_TIMEOUT),
    "a mount that others need (62)": (PLAN, NfsSight((MOUNT,)), others(MOUNT_KEY), Gone),
    "somebody's mount": (PLAN, mount(NfsSight(), ours=False), tried(), Gone),
    "stacked (64)": (PLAN, NfsSight((MOUNT, OVER)), tried(), Code.CONFLICT),
    "a file, published": (FILE_PLAN, FILE_LINKED, tried(), Look),
    "a file, published, nobody uses it": (
        FILE_PLAN,
        replace(FILE_LINKED, file=replace(FILE_LINKED.file or NfsFile(), holders=())),
        tried(),
        UNPUBLISH_FILE,
    ),
    "a file, and nobody asked who uses it": (FILE_PLAN, NfsSight((MOUNT,)), tried(stood=True), Look),
    "a file in use": (FILE_PLAN, file(holders=("qemu",)), tried(stood=True), Code.IN_USE),
    "a file that was never handed out, in use": (FILE_PLAN, file(holders=("qemu",)), tried(), UNMOUNT),
    "another file, and the pinned one in use (93)": (FILE_PLAN, OTHER_LINKED, tried(), UNPUBLISH_FILE),
    "another file, and its link taken (93)": (FILE_PLAN, OTHER_TAKEN, tried(UNPUBLISH_FILE), Code.IN_USE),
    "a file that others need, too": (FILE_PLAN, NfsSight((MOUNT,)), others(FILE_KEY, MOUNT_KEY), Gone),
    "a file of a mount that others need": (FILE_PLAN, file(holders=()), others(MOUNT_KEY), Gone),
    "a file, stacked (64)": (FILE_PLAN, NfsSight((MOUNT, OVER)), tried(stood=True), Code.CONFLICT),
    "a file, somebody's mount of something else": (FILE_PLAN, NfsSight((OVER,)), tried(), Gone),
    "a file that nobody uses": (FILE_PLAN, file(holders=()), tried(), UNMOUNT),
    "a file, its server silent (98)": (FILE_PLAN, SILENT_FILE, tried(stood=True, used=True), Wait),
    "a file, its server silent, by force": (FILE_PLAN, SILENT_FILE, tried(stood=True, used=True, force=True), UNMOUNT),
    "a file, its server silent, read-only": (
        FILE_PLAN,
        SILENT_FILE,
        tried(stood=True, used=True, read_only=True),
        UNMOUNT,
    ),
    "a file, not mounted": (FILE_PLAN, NfsSight(), tried(), Gone),
}


@pytest.mark.parametrize("case", ATTACH)
def test_attach(case: str) -> None:
    plan, sight, context, next_ = ATTACH[case]
    assert short(nfs.decide(Goal.ATTACHED, plan.as_json(), sight, context)) == next_


@pytest.mark.parametrize("case", DETACH)
def test_detach(case: str) -> None:
    plan, sight, context, next_ = DETACH[case]
    assert short(nfs.decide(Goal.GONE, plan.as_json(), sight, context)) == next_


@pytest.mark.parametrize(
    ("plan", "sight", "context", "restore"),
    [
        (PLAN, MADE, tried(UNPUBLISH, failed=(REMOVE,)), PUBLISH),
        (PLAN, MADE, tried(failed=(REMOVE,)), None),
        (PLAN, path(designators=frozenset()), tried(UNPUBLISH, failed=(REMOVE,)), None),
        (FILE_PLAN, file(holders=("qemu",)), tried(UNPUBLISH_FILE), PUBLISH_FILE),
        (FILE_PLAN, file(holders=("qemu",)), tried(stood=True), None),
        (FILE_PLAN, file(holders=("qemu",), inode=78), tried(UNPUBLISH_FILE), None),
    ],
)
def test_a_refused_detach_puts_the_link_back_where_it_was_taken(
    plan: nfs.Plan, sight: NfsSight, context: Context, restore: Step | None
) -> None:
    decision = nfs.decide(Goal.GONE, plan.as_json(), sight, context)
    assert isinstance(decision, Fail) and decision.restore == restore


def test_what_is_handed_out() -> None:
    block = nfs.decide(Goal.ATTACHED, PLAN.as_json(), LINKED, tried())
    assert isinstance(block, Ready) and block.verified
    assert (block.device.kind, block.device.path, block.device.size) == ("block", f"{DEVICES}/{WWID}", SIZE)
    plain = nfs.decide(Goal.ATTACHED, FILE_PLAN.as_json(), FILE_LINKED, READS)
    assert isinstance(plain, Ready) and plain.device.read_only
    assert (plain.device.kind, plain.device.path, plain.device.wwid) == ("file", PLACE, None)
    assert plain.device.paths[0].via == "10.0.0.1:/srv (NFS 4.2)", "the effective version is told (63)"


def test_the_file_that_was_looked_at_first_is_kept_before_anything_is_made_of_it() -> None:
    """Case 93."""
    kept = nfs.decide(Goal.ATTACHED, NEW.as_json(), MOUNTED, tried())
    assert isinstance(kept, Keep) and nfs.plan_of({**NEW.as_json(), **kept.values}) == PLAN
    assert nfs.needs(NEW.as_json()) == nfs.needs(PLAN.as_json())


@pytest.mark.parametrize(("read_only", "open_for"), [(False, "rw"), (True, "ro")])
def test_a_file_is_opened_as_it_is_to_be_used(read_only: bool, open_for: str) -> None:
    look = nfs.decide(Goal.ATTACHED, FILE_PLAN.as_json(), MOUNTED, tried(read_only=read_only))
    assert isinstance(look, Look) and isinstance(look.query, NfsQuery) and look.query.open_for == open_for


def test_what_root_may_not_open_is_said_with_what_would_mend_it() -> None:
    denied = nfs.decide(Goal.ATTACHED, FILE_PLAN.as_json(), linked(opening=Opening.DENIED), tried())
    assert isinstance(denied, Ready) and "root_squash" in denied.note and "no_root_squash" in denied.note
    assert "an error when it is written out at its detach is not heard" in denied.note
    read = nfs.decide(Goal.ATTACHED, FILE_PLAN.as_json(), linked(opening=Opening.DENIED), tried(read_only=True))
    assert isinstance(read, Ready) and "root_squash" in read.note and "not heard" not in read.note
    opened = nfs.decide(Goal.ATTACHED, FILE_PLAN.as_json(), FILE_LINKED, tried())
    assert isinstance(opened, Ready) and not opened.note


def test_whoever_has_the_pinned_file_open_is_looked_for() -> None:
    """Case 93: another file lies there by now, and the guest has the one that was there."""
    look = nfs.decide(Goal.GONE, FILE_PLAN.as_json(), NfsSight((MOUNT,)), tried(stood=True))
    assert isinstance(look, Look) and isinstance(look.query, NfsQuery)
    assert (look.query.holders, look.query.number) == (True, 77)


def test_a_dead_server_need_not_be_asked_on_the_way_out() -> None:
    """Case 57: the way out looks at what this host has, and at nothing of the server's."""
    leaving, coming = (nfs.query("vm", PLAN.as_json(), goal=goal) for goal in (Goal.GONE, Goal.ATTACHED))
    assert isinstance(leaving, NfsQuery) and isinstance(coming, NfsQuery)
    assert (leaving.path, coming.path, leaving.wwid) == ("", "a/disk.img", WWID)


def test_one_object_is_always_the_same_disk() -> None:
    assert PLAN.wwid == wwid_of("ID") == replace(PLAN, server="10.0.0.2", present="file").wwid
    assert PLAN.wwid.startswith("naa.6001405") and len(PLAN.wwid) == 36 and serial_in(PLAN.wwid) == serial_of("ID")
    assert PLAN.wwid != wwid_of("id")
    assert replace(PLAN, object_id="").wwid != replace(PLAN, object_id="", path="b").wwid


def test_one_mount_for_each_server_export_and_version() -> None:
    places = {plan.share.point for plan in (PLAN, replace(PLAN, path="b"), replace(PLAN, object_id="x"))}
    assert len(places) == 1
    elsewhere = (replace(PLAN, server="10.0.0.2"), replace(PLAN, export="/srv2"), replace(PLAN, version="4.1"))
    assert len(places | {plan.share.point for plan in elsewhere}) == 4


@pytest.mark.parametrize("server", ["10.0.0.1", "fd00::1"])
def test_a_share_is_known_by_its_source(server: str) -> None:
    share = Share(server, "/srv/a", "4.1")
    assert Share.of(share.source, "4.1") == share


@pytest.mark.parametrize(
    "change",
    [
        {"server": "nas.example.org"},
        {"server": "10.0.0.01"},
        {"server": "::ffff:10.0.0.1"},
        {"export": "srv"},
        {"export": "/srv/../etc"},
        {"export": "/srv/"},
        {"path": "../disk"},
        {"path": "/disk"},
        {"path": "a//b"},
        {"path": "a b"},
        {"version": "3"},
        {"present": "folder"},
        {"options": "dev"},
        {"options": "vers=3"},
        {"options": "addr=10.0.0.9"},
        {"options": "sec=krb5:x"},
        {"options": "hard,"},
    ],
)
def test_what_a_plan_may_not_be(change: dict[str, Any]) -> None:
    with pytest.raises(Problem) as refused:
        nfs.plan_of(PLAN.as_json() | change)
    assert refused.value.code is Code.INVALID_REQUEST and refused.value.hint
