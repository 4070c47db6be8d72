"""What oned sends to a datastore's script: an image and its datastore, by either convention.

Up to 6.6 the message is the first argument and the number the second; since 6.8 the number is the only argument, and
the message is standard input.
"""

from __future__ import annotations

import base64
import binascii
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cdmi_one import oned
from cdmi_one.failure import Failure
from cdmi_one.settings import Settings, load


@dataclass(frozen=True)
class Message:
    """What is asked for: `size_mb` is -1 where it is not said, `snapshot` empty; `attributes` are the datastore's."""

    id: str
    path: str
    source: str
    size_mb: int
    format: str
    fs: str
    snapshot: str
    attributes: dict[str, str]

    def settings(self) -> Settings:
        """Those of the drivers; the datastore may name its own hosts to work through. Raises `Failure`."""
        settings, bridges = load(), tuple(self.attributes.get("BRIDGE_LIST", "").split())
        return replace(settings, bridges=bridges) if bridges else settings


def read(words: Sequence[str]) -> Message:
    """The message of this script. Raises `Failure`."""
    text = words[0] if len(words) > 1 else sys.stdin.read()
    try:
        root = oned.parse(base64.b64decode(text, validate=False).decode())
    except (binascii.Error, ValueError, Failure):
        raise Failure("there is no message for a datastore's driver", "this script is run by OpenNebula") from None

    def image(name: str) -> str:
        return (root.findtext(f"IMAGE/{name}") or "").strip()

    size = image("SIZE")
    template = root.find("DATASTORE/TEMPLATE")
    return Message(
        id=image("ID") or words[-1],
        path=image("PATH"),
        source=image("SOURCE"),
        size_mb=int(size) if size.isascii() and size.isdigit() else -1,
        format=image("FORMAT"),
        fs=image("FS"),
        snapshot=image("TARGET_SNAPSHOT"),
        attributes={one.tag: (one.text or "").strip() for one in (() if template is None else template)},
    )
