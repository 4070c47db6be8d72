"""`cdmi.conf`: what the drivers may do, as one file of KEY=VALUE lines beside those of the other drivers."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from cdmi_one.failure import Failure
from cdmi_one.places import Source

FILE = Path(__file__).resolve().parents[2] / "etc" / "tm" / "cdmi" / "cdmi.conf"
POLICIES = ("keep", "delete", "modify")
KINDS = ("lun", "file")
LISTS = ("ALLOW", "REQUIRE", "IMPORT_FROM", "CLONES", "IMAGES", "BRIDGE_LIST", "FRONT_END", "INITIATORS")
TEXTS = ("SITE", "ON_DELETE", "ON_DELETE_METADATA", "NEW_IMAGES", "EXPORT_AS", "LEASE_S")


@dataclass(frozen=True)
class Settings:
    """What the file says.

    `allow` are the containers (with the servers that they are on) whose objects may be registered, `require` metadata
    that such an object has to have; `import_from` how the paths and URLs begin that may be copied into the store.
    `clones` is where the disks of VMs are made, `images` where new images are, one container for each server. `bridges`
    are hosts to work through where the front-end has no daemon; `front_end` more names of the front-end; `initiators`
    what hosts are called on the storage network, where their probes do not tell.
    """

    allow: tuple[Source, ...] = ()
    require: dict[str, str] = field(default_factory=dict)
    import_from: tuple[str, ...] = ()
    clones: tuple[Source, ...] = ()
    images: tuple[Source, ...] = ()
    bridges: tuple[str, ...] = ()
    front_end: tuple[str, ...] = ()
    initiators: dict[str, tuple[str, ...]] = field(default_factory=dict)
    site: str = "one"
    on_delete: str = "keep"
    on_delete_metadata: dict[str, str] = field(default_factory=dict)
    new_images: str = "lun"
    export_as: str = "https"
    lease_s: int = 600


def load(file: Path = FILE) -> Settings:
    """Read the file; where there is none, nothing is allowed. Raises `Failure`, with the line."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{file} cannot be read: {error}", "let oneadmin read it") from None
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        values.update(_entry(line, f"{file}, line {number}"))
    try:
        return _settings(values)
    except ValueError as error:
        raise Failure(f"{file}: {error}", "see the comments in it") from None


def _entry(line: str, where: str) -> dict[str, str]:
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise Failure(f"{where}: {error}", "close the quotes") from None
    if not words:
        return {}
    name, equals, value = words[0].partition("=")
    if len(words) > 1 or not equals or name not in LISTS + TEXTS:
        raise Failure(f"{where}: {line.strip()!r} is no setting", 'write KEY="VALUE", with a key of the sample')
    return {name: value}


def _settings(values: dict[str, str]) -> Settings:
    default = Settings()
    lists = {name: tuple(values.get(name, "").split()) for name in LISTS}
    clones = tuple(as_container("CLONES", one) for one in lists["CLONES"])
    return Settings(
        allow=tuple(as_container("ALLOW", one) for one in lists["ALLOW"]),
        require=_pairs("REQUIRE", lists["REQUIRE"]),
        import_from=lists["IMPORT_FROM"],
        clones=clones,
        images=tuple(as_container("IMAGES", one) for one in lists["IMAGES"]) or clones,
        bridges=lists["BRIDGE_LIST"],
        front_end=lists["FRONT_END"],
        initiators={host: tuple(names.split(",")) for host, names in _pairs("INITIATORS", lists["INITIATORS"]).items()},
        site=_word("SITE", values, default.site),
        on_delete=_choice("ON_DELETE", values, POLICIES, default.on_delete),
        on_delete_metadata=_pairs("ON_DELETE_METADATA", tuple(values.get("ON_DELETE_METADATA", "").split())),
        new_images=_choice("NEW_IMAGES", values, KINDS, default.new_images),
        export_as=_choice("EXPORT_AS", values, ("https", "cdmi"), default.export_as),
        lease_s=_seconds("LEASE_S", values, default.lease_s),
    )


def as_container(name: str, text: str) -> Source:
    """A container with its server: cdmi://SERVER/CONTAINER/. Raises `ValueError`."""
    scheme, _, rest = text.partition("://")
    server, _, path = rest.partition("/")
    if scheme != "cdmi" or not server or any(part in (".", "..") for part in path.split("/")):
        raise ValueError(f"{name}: {text!r} is not cdmi://SERVER/CONTAINER/")
    if not text.isascii():  # it gets into transfer files, which one_tm.rb reads in LANG=C
        raise ValueError(f"{name}: {text!r} is not all ASCII: write cdmi://{server}/{quote(path)}")
    return Source(server, path.strip("/"))


def _pairs(name: str, words: tuple[str, ...]) -> dict[str, str]:
    found = [word.partition("=") for word in words]
    for key, equals, value in found:
        if not (key and equals and value):
            raise ValueError(f"{name}: {key!r} is not NAME=VALUE")
    return {key: value for key, _, value in found}


def _word(name: str, values: dict[str, str], default: str) -> str:
    value = values.get(name, default)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", value, re.ASCII):
        raise ValueError(f"{name}: {value!r} is not one word of letters, digits, _ and -")
    return value


def _choice(name: str, values: dict[str, str], choices: tuple[str, ...], default: str) -> str:
    value = values.get(name, default)
    if value not in choices:
        raise ValueError(f"{name}: {value!r} is none of {', '.join(choices)}")
    return value


def _seconds(name: str, values: dict[str, str], default: int) -> int:
    value = values.get(name, str(default))
    if not (value.isascii() and value.isdigit() and 60 <= int(value) <= 86400):
        raise ValueError(f"{name}: {value!r} is not a number of seconds from 60 to 86400")
    return int(value)
