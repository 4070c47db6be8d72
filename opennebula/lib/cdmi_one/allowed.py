"""What may be registered as an image: by its server, the container that it is in, and what its owner says of it.

Any user of a datastore may ask for any PATH, so that nothing is allowed that `cdmi.conf` does not name. Where an object
is, its server tells: a path may lead elsewhere, and an ID says nothing.
"""

from __future__ import annotations

import fcntl
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cdmi_one import commands
from cdmi_one.clones import OWNER, Found, found_in, owner
from cdmi_one.failure import Failure
from cdmi_one.hosts import through
from cdmi_one.places import Source, source_of
from cdmi_one.remote import HERE
from cdmi_one.settings import Settings

REGISTERED = "opennebula_image"
"""The note on a registered object: whose image it is. (`OWNER`, on what OpenNebula has made, lets it be deleted.)"""
ASK = "ask the administrator of OpenNebula"


def registered(path: str, settings: Settings, *, image: str = "") -> tuple[Source, Found]:
    """The object of a PATH, if it may be an image: its address by ID, and what it is. Raises `Failure`.

    With the number of an `image`, also where it is another image's: two would be written to as if they were two.
    """
    source = source_of(path)
    containers = [one for one in settings.allow if one.server.casefold() == source.server.casefold()]
    if not containers:
        raise Failure(f"objects of {source.server} may not be registered", f"{ASK} to name it in ALLOW of cdmi.conf")
    found = look(str(source), settings)
    if found.reference:
        raise Failure(f"{source} is only a reference to {found.uri}", "register the object itself")
    found = look(str(found.by_id(source.server)), settings)  # asked by its ID, it tells where it is itself
    outside = [place for place in found.places if not any(_is_inside(found, place, one) for one in containers)]
    if outside or not (found.places or any(not one.names for one in containers)):
        what = f"{source} is at {(*outside, found.uri)[0]}, outside what may be registered"
        raise Failure(what, f"{ASK} to name its container in ALLOW of cdmi.conf")
    for name, value in settings.require.items():
        if found.metadata.get(name) != value:
            raise Failure(f"{source} has no metadata {name}={value}", "its owner sets that: cdmi-attach set-metadata")
    if whose := found.metadata.get(OWNER):
        raise Failure(f"{source} is OpenNebula's already: {whose}", "oneimage clone, or onevm disk-saveas, copies it")
    if image and found.metadata.get(REGISTERED, owner(settings, "image", image)) != owner(settings, "image", image):
        what = f"{source} is registered already: {found.metadata[REGISTERED]}"
        remedy = (
            f"use that, or oneimage clone; if there is none: cdmi-attach set-metadata {source} --remove {REGISTERED}"
        )
        raise Failure(what, remedy)
    return found.by_id(source.server), found


def take(path: str, image: str, settings: Settings) -> Source:
    """Note on the object of a PATH whose image it is, and see that it is so. Returns its address. Raises `Failure`.

    Of two at once one goes without: the front-end's scripts take turns, and another front-end's note is seen, if late.
    """
    with Path(__file__).open(encoding="utf-8") as turn:
        with suppress(OSError):  # some shared file systems have no such locks
            fcntl.flock(turn, fcntl.LOCK_EX)
        source, _ = registered(path, settings, image=image)
        note = f"{REGISTERED}={owner(settings, 'image', image)}"
        through(HERE, settings, [f"{commands.cdmi('set-metadata', source, note)} >/dev/null"])
        registered(str(source), settings, image=image)
    return source


def seek(source: str, settings: Settings) -> Found | None:
    """What an object is; None where there is none. Raises `Failure`."""
    looked = commands.tolerate_missing(commands.cdmi("stat", source, "--json"))
    return found_in(through(HERE, settings, [looked]))


def look(source: str, settings: Settings) -> Found:
    """What an object is. Raises `Failure`, also where there is none."""
    found = seek(source, settings)
    if found is None:
        raise Failure(f"there is no object at {source}", "look at its address: cdmi-attach resolve")
    return found


def _is_inside(found: Found, place: str, container: Source) -> bool:
    """Whether an address of the object is somewhere in that container (and is not the container itself)."""
    root, at = _names(found.server), _names(place)
    inner = at[len(root) :]
    above = tuple(unquote(name) for name in container.names)
    return at[: len(root)] == root and len(inner) > len(above) and inner[: len(above)] == above


def _names(url: str) -> tuple[str, ...]:
    return tuple(unquote(name) for name in urlsplit(url).path.split("/") if name)
