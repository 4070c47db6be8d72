"""The verbs of the datastore driver, by the names of their scripts. Their standard output is the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from xml.sax.saxutils import escape

from cdmi_one import commands, downloading, message
from cdmi_one.allowed import REGISTERED, look, registered, seek, take
from cdmi_one.clones import OWNER, Found, inside, owner, snapshot_name, snapshot_of
from cdmi_one.copying import copy, note_of
from cdmi_one.failure import Failure
from cdmi_one.hosts import through
from cdmi_one.importing import imported, size_of
from cdmi_one.message import Message
from cdmi_one.places import Source, source_of
from cdmi_one.remote import HERE, RemoteFailure
from cdmi_one.settings import Settings, as_container

MIB = 1 << 20
NO_ROOM = (
    'say quota= of its [[server]], or DATASTORE_CAPACITY_CHECK="NO" of this datastore: until then oned has no room'
)
"""oned takes what was never told for 0 MiB ("Not enough space in datastore"), where an object is registered as well."""


def stat(words: Sequence[str]) -> None:
    """The size of what would be registered, in MiB; a failure refuses it."""
    asked = message.read(words)
    settings = asked.settings()
    if not asked.path.startswith("cdmi://"):
        print(-(-size_of(asked.path, settings) // MIB))
        return
    _, found = registered(asked.path, settings, image=asked.id)
    print(_mib(found))


def cp(words: Sequence[str]) -> None:
    """Register an object as it is, by its ID; anything else is copied into the store."""
    asked = message.read(words)
    settings = asked.settings()
    if asked.path.startswith("cdmi://"):
        source = take(asked.path, asked.id, settings)
        print(f"{source} raw")
        return
    new = _new(asked, settings)
    imported(asked.path, str(new), asked.size_mb, note_of(str(new), settings), settings)
    print(f"{look(str(new), settings).by_id(new.server)} raw")


def mkfs(words: Sequence[str]) -> None:
    """An empty image; of one that a disk is saved as (`save_as`) only where it will be.

    The whole answer is its source: oned takes no format from MKFS (ImageManager::_mkfs).
    """
    asked = message.read(words)
    settings = asked.settings()
    new = _new(asked, settings)
    if asked.format == "save_as":
        print(new)
        return
    if asked.format not in ("", "raw"):
        raise Failure(
            f"FORMAT={asked.format}: images here are raw", "say FORMAT=raw, or DRIVER=raw in the datastore's template"
        )
    if asked.fs:
        raise Failure(f"no file system ({asked.fs}) is made in a new image", "leave FS out: the guest makes it")
    create(str(new), asked.size_mb, settings)
    print(look(str(new), settings).by_id(new.server))


def create(new: str, size_mb: int, settings: Settings) -> None:
    """An empty image at that place, which is ours: again is success. Raises `Failure`."""
    if size_mb <= 0:
        raise Failure("the image has no size", "say SIZE=, in MiB")
    note = note_of(new, settings)
    kind = "dataobject" if settings.new_images == "file" else "container"
    try:
        through(HERE, settings, [commands.create(new, size_mb, note, kind=kind)])
    except RemoteFailure as failure:
        if failure.status != commands.TAKEN:
            raise
        there = look(new, settings)
        if there.metadata.get(OWNER) != note[OWNER]:
            raise Failure(f"something else is at {new} already", "look at it (cdmi-attach stat), and retry") from None
        if there.pending:
            raise Failure(f"{new} is no image yet: {there.pending}", "retry when that is done") from None
        if (there.size or 0) < size_mb * MIB:  # made elsewhere, by what has not come to its end
            through(HERE, settings, [f"{commands.cdmi('set-size', new, size_mb * MIB)} >/dev/null"])


def clone(words: Sequence[str]) -> None:
    """A copy of an image. The whole answer is its source (until 6.4.1); its format is that of the image."""
    asked = message.read(words)
    settings, source = asked.settings(), source_of(asked.path)
    new = _new(asked, settings, server=source.server)
    copy(HERE, str(source), str(new), settings)
    print(look(str(new), settings).by_id(new.server))


def rm(words: Sequence[str]) -> None:
    """The end of an image: what OpenNebula has made goes; of what was registered, `ON_DELETE` says what becomes."""
    asked = message.read(words)
    settings = asked.settings()
    # Of an image that was never finished oned knows no source (nor asks, in 7.0): what is of it is where it was to be.
    source = source_of(asked.source) if asked.source else _new(asked, settings)
    found = seek(str(source), settings)
    if found is None:
        return
    at = found.by_id(source.server)
    if found.metadata.get(OWNER) == owner(settings, "image", asked.id):
        through(HERE, settings, [commands.delete(at, "--with-snapshots")])
        return
    mine = owner(settings, "image", asked.id)
    if not asked.source or found.metadata.get(REGISTERED, mine) != mine:
        return  # it is another image's by now
    if settings.on_delete == "delete":
        registered(str(source), settings)
        through(HERE, settings, [commands.delete(at)])
        return
    items = [f"{name}={value}" for name, value in settings.on_delete_metadata.items() if settings.on_delete == "modify"]
    items += ["--remove", REGISTERED] if REGISTERED in found.metadata else []
    if items:
        through(HERE, settings, [commands.cdmi("set-metadata", at, *items)])


def monitor(words: Sequence[str]) -> None:
    """How much room there is, in MiB."""
    asked = message.read(words)
    settings = asked.settings()
    container = _container(asked, settings)
    told = through(HERE, settings, [commands.cdmi("capacity", container)]).split()
    values = dict(zip(told[::2], told[1::2]))
    if not all(values.get(name, "-").isdigit() for name in ("used", "free", "total")):
        raise Failure(f"nothing tells how much room there is in {container}", NO_ROOM)
    for name in ("used", "total", "free"):
        print(f"{name.upper()}_MB={int(values[name]) // MIB}")


def export(words: Sequence[str]) -> None:
    """Where another datastore, or a marketplace, reads the image from."""
    asked = message.read(words)
    settings, source = asked.settings(), source_of(asked.source)
    found = look(str(source), settings)
    url = str(source) if settings.export_as == "cdmi" else found.uri
    items = {"IMPORT_SOURCE": url, "MD5": "", "SIZE": _mib(found), "FORMAT": "raw", "DISPOSE": "NO"}
    inner = "".join(f"<{name}>{escape(str(text))}</{name}>" for name, text in items.items())
    print(f"<IMPORT_INFO>{inner}</IMPORT_INFO>")


def snap_delete(words: Sequence[str]) -> None:
    """A snapshot of an image goes; that there is none is success."""
    asked = message.read(words)
    at = snapshot_of(str(source_of(asked.source)), snapshot_name(asked.snapshot))
    through(HERE, asked.settings(), [commands.delete(at)])


def snap_revert(words: Sequence[str]) -> None:
    """An image is brought back to its snapshot."""
    asked = message.read(words)
    wanted = ("restore", "--yes", source_of(asked.source), snapshot_name(asked.snapshot))
    through(HERE, asked.settings(), [commands.patiently(commands.cdmi(*wanted))])


def snap_flatten(_: Sequence[str]) -> None:
    """Not supported."""
    what = "not supported: a snapshot of a CDMI server depends on nothing, and cannot be merged into its object"
    raise Failure(what, "revert to it (oneimage snapshot-revert), and delete the others")


def _new(asked: Message, settings: Settings, *, server: str = "") -> Source:
    """Where a new image is: by the container of its datastore, or of the settings. Raises `Failure`."""
    container = _container(asked, settings, server=server)
    return inside(container, f"{settings.site}-img-{asked.id}")


def _container(asked: Message, settings: Settings, *, server: str = "") -> Source:
    said = asked.attributes.get("CDMI_CONTAINER", "")
    try:
        containers = (as_container("CDMI_CONTAINER", said),) if said else settings.images
    except ValueError as error:
        raise Failure(str(error), "correct the datastore's template") from None
    found = [one for one in containers if server in ("", one.server)]
    if len(found) != 1:
        what = f"{len(found)} containers could be meant{f' on {server}' if server else ''}"
        raise Failure(what, 'say CDMI_CONTAINER="cdmi://SERVER/CONTAINER/" in the datastore\'s template')
    return found[0]


def _mib(found: Found) -> int:
    """The size, rounded up. Raises `Failure`."""
    if found.size is None:
        raise Failure(f"{found.uri} tells no size", "it has to be a LUN or a data object")
    return -(-found.size // MIB)


VERBS: Mapping[str, Callable[[Sequence[str]], None]] = {
    "cp": cp,
    "stat": stat,
    "mkfs": mkfs,
    "clone": clone,
    "rm": rm,
    "monitor": monitor,
    "export": export,
    "snap_delete": snap_delete,
    "snap_revert": snap_revert,
    "snap_flatten": snap_flatten,
    "download": downloading.download,
}
