"""A host withdrawn from objects at their servers, through the daemon of any other host, and the proof that it is.

That a server has taken some names away proves nothing where the host may have others: whoever is left in an export has
to be another host that is known by that name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cdmi_one.commands import cdmi, tolerate_missing
from cdmi_one.failure import Failure
from cdmi_one.pool import Host
from cdmi_one.remote import CONFLICT, HERE, RemoteFailure, run
from cdmi_one.settings import Settings

LIMIT_S = 300.0
MOST = 5
"""So many hosts that oned hears of are tried, after those of BRIDGE_LIST."""
_PORT = re.compile(r"(?:0x)?[0-9a-f]{16}", re.ASCII)


@dataclass(frozen=True)
class Target:
    """An object that the host may have open. `may_miss`: a copy, which perhaps was never made, or is gone."""

    source: str
    may_miss: bool


@dataclass(frozen=True)
class Names:
    """What the lost host is called on the storage network, and what all others are: in the form for comparison."""

    lost: tuple[str, ...]
    others: Mapping[str, str]


def names_of(host: Host, hosts: Sequence[Host], settings: Settings) -> Names:
    """By the settings, and by what the probes told. Raises `Failure` where nothing tells."""
    told = {one.name: (*settings.initiators.get(one.name, ()), *one.initiators) for one in hosts}
    told.update({name: names for name, names in settings.initiators.items() if name not in told})
    mine = tuple(dict.fromkeys(told.get(host.name, ())))
    if not mine:
        what = f"nothing tells what {host.name} is called on the storage network, so that it cannot be withdrawn there"
        raise Failure(what, f'set INITIATORS="{host.name}=iqn..." in cdmi.conf once it is certain, and retry')
    others = {normal(one): name for name, names in told.items() if name != host.name for one in names}
    twice = [one for one in mine if normal(one) in others]
    if twice:
        what = f"{others[normal(twice[0])]} is called {twice[0]} as well as {host.name}"
        raise Failure(what, "give each host a name of its own on the storage network")
    return Names(mine, others)


def normal(name: str) -> str:
    """The form in which two spellings are equal: ports of Fibre Channel in bare digits, all else in lower case."""
    bare = name.casefold().replace(":", "") if name.count(":") == 7 else name.casefold()
    return bare.removeprefix("0x") if _PORT.fullmatch(bare) else name.casefold()


def through(host: Host, hosts: Sequence[Host], settings: Settings) -> tuple[str, ...]:
    """The places to ask a server from, the best first: never the lost host."""
    well = [one.name for one in hosts if one.is_well][:MOST]
    return tuple(dict.fromkeys(one for one in (HERE, *settings.bridges, *well) if one != host.name))


def withdraw(targets: Sequence[Target], names: Names, places: Sequence[str]) -> None:
    """Have the host withdrawn from every object. Raises `Failure` where that is not certain of one of them."""
    answers = list(_documents(_asked(targets, names, places)))
    if len(answers) != len(targets):
        raise Failure(f"{len(targets)} objects, but {len(answers)} answers", "is it cdmi-attach that the hosts run?")
    for target, answer in zip(targets, answers):
        if not (target.may_miss and answer.get("code") == "not-found"):
            _insist(target, answer, names)


def _asked(targets: Sequence[Target], names: Names, places: Sequence[str]) -> str:
    lines = [cdmi("fence", "--yes", "--json", target.source, *names.lost) for target in targets]
    lines = [tolerate_missing(line) if target.may_miss else line for line, target in zip(lines, targets)]
    said = []
    for place in places:
        try:
            return run(place, lines, limit_s=LIMIT_S)
        except RemoteFailure as failure:
            said.append(failure.detail)
            if failure.status == CONFLICT:
                break
    raise Failure("; ".join(said) or "there is no other host to ask the server from", "see to that, and retry the hook")


def _documents(text: str) -> Iterator[Mapping[str, Any]]:
    """The JSON documents of a text, one after the other."""
    decoder, at = json.JSONDecoder(), 0
    try:
        while text[at:].strip():
            at += len(text[at:]) - len(text[at:].lstrip())
            found, at = decoder.raw_decode(text, at)
            yield found if isinstance(found, dict) else {}
    except ValueError:
        raise Failure("cdmi-attach fence has told no JSON", "is it cdmi-attach that the hosts run?") from None


def _insist(target: Target, answer: Mapping[str, Any], names: Names) -> None:
    exports = answer.get("exports")
    if not exports:
        raise Failure(f"no export of {target.source} tells who may use it", "withdraw the host at the server, by hand")
    lost = set(map(normal, names.lost))
    for export in exports:
        for left in export.get("permissions") or ():
            if normal(left) in lost:
                raise Failure(f"{target.source} still lets {left} in", "withdraw it at the server, by hand, and retry")
            if normal(left) not in names.others:
                what = f"{target.source} lets {left} in, and nothing tells that this is not the lost host as well"
                raise Failure(what, f'name it in cdmi.conf (INITIATORS="NAME={left}"), or withdraw it, and retry')
