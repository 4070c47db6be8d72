"""The versions of CDMI that the server can speak: inside it is all 1.1; what comes in and goes out is translated."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ISCSI, NFS = "Network/iSCSI", "nfs"
_TYPES = {ISCSI: "iSCSI", NFS: "NFS"}
_SINCE = "2026-01-01T00:00:00.000000Z"


@dataclass(frozen=True)
class Dialect:
    """One version. `versions` are those that may be in the version header, the highest first; none: it is refused."""

    name: str
    versions: tuple[str, ...] = ()
    media: str = "application/cdmi-{}"
    separator: str = "&"
    argument: str = "="
    update: str = "PATCH"
    done: int = 204
    base64_ids: bool = False
    typed_exports: bool = True
    draft: bool = False

    @property
    def version(self) -> str:
        """What is said in the version header of an answer; empty where there is none."""
        return self.versions[0] if self.versions else ""

    def media_types(self, kind: str) -> tuple[str, ...]:
        """What a kind of object may be called in requests; the first is used in answers."""
        name = "dataobject" if self.base64_ids and kind == "object" else kind
        one = self.media.format(name)
        return (one,) if one.endswith("+json") else (one, f"{one}+json")

    def id_out(self, object_id: str) -> str:
        """An object ID as it is written: Base16, or in 1.0 Base64."""
        return base64.b64encode(bytes.fromhex(object_id)).decode() if self.base64_ids else object_id

    def id_in(self, text: str) -> str:
        """An object ID as it is kept; empty where it is none."""
        try:
            return base64.b64decode(text, validate=True).hex().upper() if self.base64_ids else text
        except (binascii.Error, ValueError):
            return ""

    def body_out(self, body: Mapping[str, Any], kind: str) -> dict[str, Any]:
        """An object's fields as this version has them."""
        shown = dict(body)
        if "objectType" in shown:
            shown["objectType"] = self.media_types(kind)[0]
        for name in ("objectID", "parentID"):
            if name in shown:
                shown[name] = self.id_out(shown[name])
        if self.base64_ids:
            shown.pop("valuetransferencoding", None)
        if not self.versions:
            for name in ("parentURI", "capabilitiesURI"):  # relative to the root URI, from 2.0 on
                if name in shown:
                    shown[name] = shown[name].removeprefix("/")
        if "exports" in shown:
            shown["exports"] = self.exports_out(shown["exports"])
        return shown

    def exports_out(self, entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Entries of 1.1 as this version writes them."""
        if self.typed_exports:
            return {str(number): self._typed(key, entry) for number, (key, entry) in enumerate(entries.items(), 1)}
        if self.base64_ids and NFS in entries:
            entry = {"identifier": entries[NFS]["exportpath"], "permissions": "domain"}
            return {
                ("Network/NFSv4" if key == NFS else key): (entry if key == NFS else entries[key]) for key in entries
            }
        return dict(entries)

    def _typed(self, key: str, entry: Mapping[str, Any]) -> dict[str, Any]:
        shown = {"type": _TYPES.get(key, key.removeprefix("Network/")), **entry}
        if key == NFS:
            shown = {
                "type": "NFS",
                "protocol": entry["protocol"],
                "path": entry["exportpath"],
                "usermap": [],
                "groupmap": [],
            }
        if self.draft:
            shown |= {"active": "true", "state_determined_time": _SINCE}
            if key == NFS:
                server, _, path = str(entry["exportpath"]).rpartition(":")
                shown |= {"protocol": [entry["protocol"]], "path": path, "security_flavors": ["sys"]}
                shown |= {"server_addresses": [server]} if server else {}
        return shown

    def exports_in(self, entries: Any) -> Any:
        """Entries of this version as 1.1 writes them; what is no entry stays as it is."""
        if not isinstance(entries, dict):
            return entries
        return {self._key(key, entry): entry for key, entry in entries.items()}

    def _key(self, key: str, entry: Any) -> str:
        if key == "Network/NFSv4":
            return NFS
        if not self.typed_exports or not isinstance(entry, dict):
            return key
        named = str(entry.get("type", key)).casefold()
        return next(
            (known for known, kind in _TYPES.items() if kind.casefold() == named), f"Network/{entry.get('type')}"
        )


_VENDOR = "application/vnd.org.snia.cdmi.{}+json"


def _one(name: str, *versions: str, media: str = "application/cdmi-{}", done: int = 204) -> Dialect:
    """One of the versions 1.x."""
    first = media == _VENDOR
    return Dialect(name, versions, media, ";", ":", "PUT", done, base64_ids=first, typed_exports=False)


DIALECTS = {
    one.name: one
    for one in (
        _one("1.0", "1.0", media=_VENDOR, done=200),
        _one("1.0.1", "1.0.1"),
        _one("1.0.2", "1.0.2", "1.0.1"),
        _one("1.1", "1.1.1", "1.1.0", "1.1"),
        Dialect("2.0"),
        Dialect("3.0", draft=True),
    )
}
