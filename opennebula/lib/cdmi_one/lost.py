"""A host that is lost: withdrawn at the server before anybody else may write what it had. It is never logged in to."""

from __future__ import annotations

from cdmi_one import oned
from cdmi_one.commands import cdmi
from cdmi_one.failure import Failure
from cdmi_one.settings import Settings

ATTRIBUTE = "CDMI_INITIATORS"
"""What the probe of the hosts tells oned: initiator name and port names, separated by blanks or commas."""


def fenced(source: str, host: str, settings: Settings) -> str:
    """The line that withdraws a host's permissions on an object. Raises `Failure` where nobody knows its names."""
    return f"{cdmi('fence', '--yes', source, *names_of(host, settings))} >/dev/null"


def names_of(host: str, settings: Settings) -> tuple[str, ...]:
    """What a host is called on the storage network, by the settings, else by what its probe told. Raises `Failure`."""
    names = settings.initiators.get(host) or _told(host)
    if not names:
        what = f"nothing tells what {host} is called on the storage network, so that it cannot be withdrawn there"
        raise Failure(what, f'set INITIATORS="{host}=iqn..." in cdmi.conf once it is certain, and retry')
    return names


def _told(host: str) -> tuple[str, ...]:
    text = oned.show("host", host).findtext(f"TEMPLATE/{ATTRIBUTE}") or ""
    return tuple(text.replace(",", " ").split())
