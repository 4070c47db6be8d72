"""What may be asked of the helper: a fixed table of verbs, values in, values out."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent import wire
from agent.log import bound
from agent.values import object_of, same_names
from attachers import checks
from attachers.base import Host, Uncertain
from attachers.problems import Code, Problem
from attachers.sights import BlocksQuery, Query

log = logging.getLogger(__name__)
MAX_TIMEOUT_S = 3600.0
_MEMBERS = frozenset({"id", "verb", "value", "timeout_s", "attachment"})
_ACT = frozenset({"step", "then"})


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of process `pid`, its value not decoded yet. `attachment` is whom it is for: a name, or empty."""

    id: int
    verb: str
    value: object
    timeout_s: float
    attachment: str
    pid: int


def asked(message: Mapping[str, Any], *, pid: int) -> Asked:
    """The request in a message {"id", "verb", "value", "timeout_s", "attachment"}. Raises `Problem`."""
    if message.keys() != _MEMBERS or type(message["id"]) is not int or not isinstance(message["verb"], str):
        raise Problem(Code.BAD_REQUEST, f"a request has exactly the members {', '.join(sorted(_MEMBERS))}")
    timeout_s = message["timeout_s"]
    if type(timeout_s) not in (int, float) or not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise Problem(Code.BAD_REQUEST, f"timeout_s: not a number of seconds up to {MAX_TIMEOUT_S:g}")
    attachment = message["attachment"]
    if not (isinstance(attachment, str) and (attachment == "" or checks.NAME.fullmatch(attachment))):
        raise Problem(Code.BAD_REQUEST, "attachment: neither a name nor empty")
    return Asked(message["id"], message["verb"], message["value"], float(timeout_s), attachment, pid)


async def answer(host: Host, request: Asked) -> dict[str, Any]:
    """Do what is asked, and say what came of it: {"id", and one of "value", "problem", "uncertain"}."""
    try:
        if request.verb not in VERBS:
            raise Problem(Code.BAD_REQUEST, f"verb: {ascii(request.verb)[:80]} is none of {', '.join(VERBS)}")
        with bound(request.attachment):
            return {"id": request.id, "value": await VERBS[request.verb](host, request)}
    except Problem as problem:
        return {"id": request.id, "problem": wire.encode(problem)}
    except Uncertain as uncertain:
        return {"id": request.id, "uncertain": uncertain.step}
    except Exception:
        log.exception("%s: a defect of the helper", request.verb)
        defect = Problem(Code.INTERNAL, "a defect of the helper", hint="see: journalctl -u cdmi-attach-helperd")
        return {"id": request.id, "problem": wire.encode(defect)}


async def _observe(host: Host, request: Asked) -> dict[str, Any]:
    return wire.encode(await host.observe(_query(request, request.value, path="value")))


async def _act(host: Host, request: Asked) -> dict[str, Any] | None:
    members = object_of(request.value, "value")
    same_names(members, _ACT, "value")
    step = wire.decode_step(members["step"], path="value.step")
    then = None if members["then"] is None else _query(request, members["then"], path="value.then")
    text, began, outcome = step.describe(), host.now(), "broke off"
    log.debug("%s", text, extra={"step": text})
    try:
        sight = await host.act(step, timeout_s=request.timeout_s, then=then)
        outcome = "done"
    except Problem as problem:
        outcome = f"{problem.code}: {problem.detail}"
        problem.step = problem.step or text
        raise
    except Uncertain:
        outcome = "time ran out, its outcome is not known yet"
        raise
    finally:
        log.info("%s: %s (%.3f s)", text, outcome, host.now() - began, extra={"step": text})
    return wire.encode(sight) if sight else None


def _query(request: Asked, value: object, *, path: str) -> Query:
    """What is to be looked at. Raises `Problem`: nobody has anything written into the memory of somebody else."""
    query = wire.decode_query(value, path=path)
    if isinstance(query, BlocksQuery) and query.pid != request.pid:
        raise Problem(Code.FORBIDDEN, f"{path}.pid: {query.pid} is not who asks", hint="show memory of your own")
    return query


async def _ping(_host: Host, _request: Asked) -> None:
    return None


VERBS: Mapping[str, Callable[[Host, Asked], Awaitable[Any]]] = {"observe": _observe, "act": _act, "ping": _ping}
