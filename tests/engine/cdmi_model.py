"""A CDMI server as the engine sees it: objects, exports and permissions, which the storage network enforces."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.cdmi import nfs_hosts
from agent.host.simulated_faults import Moment
from agent.host.simulated_san import Lun, San
from agent.host.simulated_shares import HERE
from agent.model import Making, MakingState, Resolved, SeenExport, Stat
from agent.uses import Fenced, Permitted, Users
from attachers import checks, fc, iscsi
from attachers.nfs_share import Share
from attachers.problems import Code, Problem

ROOT = "https://server/cdmi/"
BESIDE = "https://beside/cdmi/"
"""The same service as it is reached by another name: a second [[server]], which spells the objects' IDs its own way."""
INITIATOR = "iqn.2026-01.org.example:host-1"
LOCAL, REMOTE, REMOTE_2 = "2000020000000010", "2000020000000011", "2000020000000013"
"""A Fibre Channel port of the host, and those of an array that it sees once `World.cable` was laid."""
PORTAL = "127.0.0.1:3260"
SHARE = Share("127.0.0.5", "/srv", "4.2")
KEY = "Network/iSCSI"
SECOND = "Network/Second"
SIZE = 64 << 20


def wwid_of(number: int) -> str:
    """The logical unit name of an object made by `add_object`."""
    return f"naa.6001405{number:025x}"


@dataclass(slots=True)
class Object:
    """A LUN container of the modelled CDMI server, or with a `share` a data object, the file `target` there.

    `permissions` None: the entry has none, and anybody may.

    `behind` is the logical unit that really answers there, where it is not `wwid`, `also` more names that it answers;
    `mapped` whether one does; `named` whether the export says its name; `unready` how often it is resolved before the
    server has filled in its export.
    `target` is an iSCSI name, or an FC port's; `beside` are more FC ports, `hidden` those of them, or of the portals,
    that do not show it.
    `instead` is a second export (`SECOND`), over another protocol. `exported`: it has any;
    `offered`: it may get one. `path` is where it is on the server: what stands before each slash are containers.
    """

    object_id: str
    target: str
    lun: int
    wwid: str
    permissions: list[str] | None = field(default_factory=list)
    portals: tuple[str, ...] = (PORTAL,)
    size: int = SIZE
    behind: str = ""
    also: tuple[str, ...] = ()
    mapped: bool = True
    named: bool = True
    unready: float = 0
    beside: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    instead: "Object | None" = None
    share: Share | None = None
    exported: bool = True
    offered: bool = False
    path: str = ""

    @property
    def protocol(self) -> str:
        if self.share:
            return "nfs"
        return "fc" if checks.is_wwpn(self.target) else "iscsi"

    @property
    def targets(self) -> tuple[str, ...]:
        return (self.target, *self.beside)

    def plan(self) -> dict[str, Any]:
        if self.share:
            file = {"path": self.target, "size": self.size, "object_id": self.object_id}
            return {"server": self.share.server, "export": self.share.export, "version": self.share.version, **file}
        wwid = self.wwid if self.named else None
        if self.protocol == "fc":
            return fc.Plan(self.targets, self.lun, wwid, self.size).as_json()
        return iscsi.Plan(self.target, self.portals, self.lun, wwid, self.size).as_json()


CdmiHook = Callable[[Moment, str, str], Awaitable[None]]
"""Called around every request to the server with what is asked and of which object; what it raises is the answer."""


class CdmiModel:
    """A CDMI server as the engine sees it: permissions given there are what the storage network enforces."""

    def __init__(self, san: San) -> None:
        self.san = san
        self.objects: dict[str, Object] = {}
        self.down: Problem | None = None
        self.with_ids = True
        self.folders: dict[str, str] = {}
        self.done: list[tuple[Any, ...]] = []
        self.hook: CdmiHook | None = None
        self.pools: dict[str, dict[str, Any]] = {}

    def name_hosts(self, share: Share = SHARE, **lists: Any) -> dict[str, Any]:
        """Have the NFS export of a container name hosts: its entry, as it is from now on."""
        entry = self.pools[_pool_of(share)] = lists
        self._let_in(share, entry)
        return entry

    def _let_in(self, share: Share, entry: dict[str, Any]) -> None:
        """Let the NFS server enforce it, for the one host that is modelled."""
        seen = {"root": (), **(nfs_hosts.rights(entry) or {})}
        may = {right: {*hosts} | ({HERE} if "*" in hosts else set()) for right, hosts in seen.items()}
        self.san.nfs.allowed[share.source] = may

    def _change_hosts(self, uri: str, change: Callable[[Sequence[str]], Sequence[str]]) -> None:
        if self.down:
            raise self.down
        entry = self.pools[uri]
        entry |= nfs_hosts.with_named(entry, change(nfs_hosts.named(entry) or ()))
        self._let_in(
            next(obj.share for obj in self.objects.values() if obj.share and _pool_of(obj.share) == uri), entry
        )

    def add(self, obj: Object) -> str:
        """Make a LUN of it. Returns its source."""
        self.objects[obj.object_id] = obj
        self.show(obj)
        return f"cdmi://server/cdmi_objectid/{obj.object_id}"

    def show(self, obj: Object) -> None:
        """Let the storage network show what the object is by now."""
        if obj.instead:
            self.show(obj.instead)
        if obj.share:
            self.san.nfs.put(obj.share, obj.target, size=obj.size)
            return
        allowed = (INITIATOR, LOCAL) if obj.permissions is None else tuple(obj.permissions)
        portals = tuple(one for one in obj.portals if one not in obj.hidden) if obj.protocol == "iscsi" else ()
        for target in obj.targets:
            self.san.remove(target, obj.lun)
            if obj.mapped and obj.exported and target not in obj.hidden:
                self.san.add(Lun(target, portals, obj.lun, obj.behind or obj.wwid, obj.size, allowed, also=obj.also))

    def _at(self, uri: str) -> str:
        """The ID of the object, or of the container, that is meant."""
        inner = uri.partition("//")[2].partition("/")[2].removeprefix("cdmi/").strip("/")
        by_path = {obj.path: object_id for object_id, obj in self.objects.items() if obj.path} | self.folders
        return by_path.get(inner) or inner.rpartition("/")[2].upper()

    def _find(self, uri: str) -> Object:
        if self.down:
            raise self.down
        object_id = self._at(uri)
        if object_id not in self.objects:
            raise Problem(Code.NOT_FOUND, f"source: the server has no object {object_id}", hint="check the object ID")
        return self.objects[object_id]

    def _entry(self, uri: str, key: str) -> Object:
        obj = self._find(uri)
        return obj.instead if key == SECOND and obj.instead else obj

    def resolve(self, source: str) -> Resolved:
        if self._at(source) in self.folders.values():
            found = self.stat(source)
            return Resolved(ROOT, found.uri, found.object_id, found.name, "container", None, (), places=found.places)
        obj = self._find(source)
        entry = self.pools.get(_pool_of(obj.share)) if obj.share else None
        seen = [
            *([_seen(KEY, obj, entry)] if obj.exported else []),
            *([_seen(SECOND, obj.instead)] if obj.instead else []),
        ]
        beside = source.startswith(("cdmi://beside/", BESIDE))
        root, object_id = (BESIDE, obj.object_id.lower()) if beside else (ROOT, obj.object_id)
        uri = f"{root}cdmi_objectid/{object_id}"
        object_id = object_id if self.with_ids else ""
        places = (f"{ROOT}{obj.path}",) if obj.path else ()
        over = [path for path in self.folders if f"{obj.path}/".startswith(f"{path}/")]
        known = (*(f"{ROOT}{path}" for path in over), *(self.folders[path].casefold() for path in over))
        told = (root, uri, object_id, obj.object_id, "container", obj.size, tuple(seen))
        return Resolved(*told, places=places, over=known)

    def stat(self, source: str) -> Stat:
        """What the object is."""
        for path, object_id in self.folders.items():
            if object_id == self._at(source):
                uri = f"{ROOT}cdmi_objectid/{object_id}/"
                return self._stat(uri, object_id, "container", None, (f"{ROOT}{path}",))
        found = self.resolve(source)
        return self._stat(found.uri, found.object_id, found.kind, found.size, found.places)

    def _stat(self, uri: str, object_id: str, kind: str, size: int | None, places: tuple[str, ...]) -> Stat:
        """Modified whenever anything was done."""
        times = {"modified": f"2026-01-01T00:00:{len(self.done):02}Z"}
        return Stat(ROOT, uri, object_id, object_id, kind, size, None, None, times, {}, places)

    def place(self, destination: str) -> str:
        return destination.rstrip("/")

    def look(self, uri: str) -> Making:
        """All that is there is complete."""
        if "/cdmi_snapshots/" in uri:
            return Making(MakingState.COMPLETE)
        try:
            return Making(MakingState.COMPLETE, object_id=self.stat(uri).object_id)
        except Problem:
            return Making(MakingState.MISSING)

    def move(self, source: str, destination: str) -> None:
        moved, to = self._at(source), destination.removeprefix(ROOT)
        self.done.append(("move", moved, destination))
        at = next((path for path, one in self.folders.items() if one == moved), None)
        if at is None:
            self.objects[moved].path = to
            return
        self.folders = {f"{to}{path.removeprefix(at)}": one for path, one in self.folders.items()}
        for obj in self.objects.values():
            obj.path = f"{to}{obj.path.removeprefix(at)}"

    def restore(self, uri: str, name: str) -> None:
        self.done.append(("restore", self._at(uri), name))

    def unlike(self, _uri: str) -> str:
        """All that was asked for is done."""
        return ""

    def change(self, source: str) -> None:
        """Writes back what it has, with the size."""
        obj = self._find(source)
        self.done.append(("change", obj.object_id, obj.size))

    def resize(self, uri: str, size: int, *, shrink: bool) -> None:
        obj = self._find(uri)
        if size < obj.size and not shrink:
            raise Problem(Code.INVALID_REQUEST, f"size: {size} is less than {obj.size}", hint="shrink")
        obj.size = size
        self.show(obj)

    def fence(self, uri: str, names: Sequence[str]) -> tuple[Fenced, ...]:
        self.revoke(uri, KEY, *names)
        return (Fenced(KEY, "iscsi", tuple(names), tuple(self._find(uri).permissions or ())),)

    def users(self, uri: str) -> Users:
        if self._at(uri) in self.folders.values():
            return Users()
        obj = self._find(uri)
        names = tuple(obj.permissions or ())
        return Users((Permitted(uri, KEY, names),) if names else (), () if obj.permissions is not None else (KEY,))

    def delete(self, uri: str) -> None:
        """Forget the object, and its LUN."""
        if self._at(uri) in self.folders.values():
            self.folders = {path: one for path, one in self.folders.items() if one != self._at(uri)}
            return
        obj = self._find(uri)
        for target in obj.targets:
            self.san.remove(target, obj.lun)
        del self.objects[obj.object_id]

    def offers(self, uri: str) -> dict[str, str]:
        obj = self._find(uri)
        return {obj.protocol: KEY} if obj.offered and not obj.exported else {}

    def export(self, uri: str) -> tuple[str, bool]:
        obj = self._find(uri)
        made, obj.exported = not obj.exported, True
        self.show(obj)
        return KEY, made

    def unexport(self, uri: str, key: str, *initiators: str) -> None:
        self.revoke(uri, key, *initiators)
        obj = self._find(uri)
        if not obj.permissions:
            obj.exported = False
        self.show(obj)

    def grant(self, uri: str, key: str, *initiators: str) -> None:
        if uri in self.pools:
            self._change_hosts(uri, lambda there: [*there, *(one for one in initiators if one not in there)])
            return
        obj = self._entry(uri, key)
        if obj.permissions is not None:
            obj.permissions += [name for name in initiators if name not in obj.permissions]
        self.show(obj)

    def revoke(self, uri: str, key: str, *initiators: str) -> None:
        if uri in self.pools:
            self._change_hosts(uri, lambda there: [one for one in there if one not in initiators])
            return
        obj = self._entry(uri, key)
        if obj.permissions is not None:
            obj.permissions[:] = [name for name in obj.permissions if name not in initiators]
        self.show(obj)


def _pool_of(share: Share) -> str:
    """The URI of the container that is exported as a share."""
    return f"https://server/cdmi/{share.source.replace('/', '-')}/"


def _seen(key: str, obj: Object, entry: dict[str, Any] | None = None) -> SeenExport:
    permissions = None if obj.permissions is None else tuple(obj.permissions)
    if obj.unready:
        obj.unready -= 1
        return SeenExport(key, obj.protocol, False, "not ready: no portals", None, permissions, pending=True)
    at = _pool_of(obj.share) if obj.share and entry is not None else ""
    hosts = None if entry is None else nfs_hosts.rights(entry)
    return SeenExport(key, obj.protocol, True, "", obj.plan(), permissions, at, hosts=hosts)
