"""What rows that an earlier version has written do not say, as far as the rest of the ledger tells it."""

from collections.abc import Iterable

from agent.cdmi.sources import object_of


def let_in(
    uri: str, key: str, permits: tuple[str, ...], grants: Iterable[tuple[str, str, str]], *, made: str
) -> tuple[str, ...]:
    """The names by which a server let this host in when a disk was handed out (`permits.let_in`).

    Not to know them is no leave to ask for them anew (`agent.engine.withdrawn`): the host may have been fenced off. So
    they are what was granted for it. `grants` are URI, key and name; `made` is no name, but an export of ours.
    """
    mine = object_of(uri), key
    granted = {name for where, entry, name in grants if (object_of(where), entry) == mine and name != made}
    return permits or tuple(sorted(granted))
