"""How each version of CDMI is spoken: version header, media types, field selection, and how a part is updated.

Servers differ more than versions do, so that each row is one way of speaking that some server understands (cdmi.md 6).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

AUTO = "auto"
VERSION_HEADER = "X-CDMI-Specification-Version"
RFC6208 = "application/cdmi-{}"
VENDOR = "application/vnd.org.snia.cdmi.{}+json"
MIXED = "application/vnd.org.snia.cdmi-{}"
_AT_ROOT = re.compile(r"(?:^|/)([23]\.\d+(?:\.\d+)?)(?:/|$)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Dialect:
    """One way to speak. `media` has a place for the kind of object; `typed`: reads carry a Content-Type as well."""

    version: str
    media: str = RFC6208
    typed: bool = False

    @property
    def in_root(self) -> bool:
        """From 2.0 on the version is in the root's path, and the header is forbidden (2.0 clause 5.7.1)."""
        return self.version[0] not in "01"

    @property
    def update(self) -> str:
        """The method that changes a part of an object."""
        return "PATCH" if self.in_root else "PUT"

    def media_type(self, url: str) -> str:
        """The type of what is at this URL: a slash at its path's end says that a container is meant."""
        path = urlsplit(url).path
        if "/cdmi_capabilities/" in path:
            return ", ".join(
                self.media.format(kind) for kind in (["capability"] + ["capabilities"] * (not self.in_root))
            )
        kind = "container" if path.endswith("/") else "object"
        return self.media.format("dataobject" if self.media == VENDOR and kind == "object" else kind)

    def select(self, url: str, fields: Sequence[str]) -> str:
        """The URL with a field selection: `?a;b:c` in 1.x, `?a&b=c` from 2.0 on; given as in 1.x, already quoted."""
        if not fields:
            return url
        spelt = "&".join(field.replace(":", "=", 1) for field in fields) if self.in_root else ";".join(fields)
        return f"{url.partition('?')[0]}?{spelt}"

    def headers(self, url: str, *, writing: bool) -> dict[str, str]:
        """The headers that say what is spoken."""
        media_type = self.media_type(url)
        headers = {"Accept": media_type}
        if writing or self.typed:
            headers["Content-Type"] = media_type
        if not self.in_root:
            headers[VERSION_HEADER] = self.version
        return headers


V1_0 = Dialect("1.0", VENDOR, typed=True)
SNIAS_OWN = Dialect("1.0.2", MIXED, typed=True)
"""What the reference implementation wants to hear before it takes a data object for one."""
V2_0 = Dialect("2.0")
FIRST = tuple(Dialect(version) for version in ("1.1.1", "1.1", "1.0.2", "1.0.1", "1.1.0"))
"""One version at a time: several servers refuse a list (cdmi.md 6)."""


def dialects_of(spec_version: str, root: str) -> tuple[Dialect, ...]:
    """Those to try with a server, in order. `root` is the path of its URL, in which 2.0 has its version."""
    if spec_version == AUTO:
        known = (*FIRST, SNIAS_OWN, V1_0)
        return (V2_0, *known) if _AT_ROOT.search(root) else (*known, V2_0)
    if spec_version == V1_0.version:
        return (V1_0, Dialect("1.0", typed=True))
    if spec_version == SNIAS_OWN.version:
        return (Dialect(spec_version), SNIAS_OWN)
    return (Dialect(spec_version),)
