"""Who did what: one line in the journal, and one event, for every request that changes something, or was refused."""

import logging
import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from aiohttp import web

from agent.api.errors import Handler
from agent.api.routes import Op, Route
from agent.caller import Caller
from agent.events import Events
from agent.messages import Message, fields
from attachers import checks
from attachers.problems import Code, Problem

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Asked:
    """The request that is being answered: who sent it, and the JSON object that it brought, once it was read."""

    by: Caller
    body: Mapping[str, Any] = field(default_factory=dict)


asked: ContextVar[Asked] = ContextVar("asked")
CHANGES = {
    Op.ATTACH: "attach",
    Op.DETACH: "detach",
    Op.DOMAIN_ATTACH: "attach to a domain",
    Op.DOMAIN_DETACH: "detach from a domain",
    Op.CONFIRM: "confirm",
    Op.RESIZE: "resize",
    Op.OBJECT_CREATE: "create",
    Op.OBJECT_CHANGE: "change metadata of",
    Op.OBJECT_DELETE: "delete",
    Op.OBJECT_WRITE: "write",
    Op.OBJECT_CLONE: "clone",
    Op.OBJECT_SNAPSHOT: "snapshot",
    Op.OBJECT_RESTORE: "restore",
    Op.OBJECT_MOVE: "move",
    Op.OBJECT_RESIZE: "set the size of",
    Op.OBJECT_FENCE: "fence",
    Op.LEFTOVERS_CLEAN: "clean leftovers",
}
"""The operations that change an attachment or an object, as verbs for a sentence. A test holds it to the routes."""
NAMED = ("name", "domain", "uri", "source", "destination", "size", "host", "force", "item")
"""What of a request says on what it was to be done: from its path, its query, or its body."""
SHOWN = 300
ABSENT = "X-Nothing-To-Do"
"""A header of answers to DELETE: what was to go was not there, so that nothing was changed."""
_USERINFO = re.compile(r"//[^/@]*@")


class Did(StrEnum):
    """What came of a request."""

    DONE = "done"
    ALREADY = "already so"
    PENDING = "under way"
    REFUSED = "refused"
    FAILED = "failed"
    LEFT = "caller went away"


def audited(route: Route, handler: Handler, events: Events) -> Handler:
    """The handler; what it is asked for, by whom, and what came of it, is logged and told."""
    if route.op not in CHANGES:
        return handler

    async def answer(request: web.Request) -> web.StreamResponse:
        did, code = Did.LEFT, ""
        try:
            response = await handler(request)
            did = _did(response)
            return response
        except Problem as problem:
            did, code = (Did.FAILED if problem.status >= 500 else Did.REFUSED), str(problem.code)
            raise
        except Exception:
            did, code = Did.FAILED, str(Code.INTERNAL)
            raise
        finally:
            _tell(request, route.op, did, code, events)

    return answer


def _did(response: web.StreamResponse) -> Did:
    if response.status == 202:
        return Did.PENDING
    return Did.ALREADY if ABSENT in response.headers else Did.DONE


def _tell(request: web.Request, op: Op, did: Did, code: str, events: Events) -> None:
    by = asked.get().by
    on = named(request.match_info, request.query, asked.get().body)
    what = f"{CHANGES[op]} {' '.join(f'{key}={value}' for key, value in on.items())}".strip()
    ending = f"{did} ({code})" if code else did
    level = logging.WARNING if code else logging.INFO
    message = Message.REFUSED if did is Did.REFUSED else Message.CHANGED
    more = fields(message, uid=str(by.uid), pid=str(by.pid), operation=str(op), result=code or str(did))
    log.log(level, "%s: %s, by user %d (pid %d)", what, ending, by.uid, by.pid, extra=more)
    attachment = on.get("name", "") if "name" in request.match_info else ""
    told = {"operation": str(op), "what": what, "outcome": str(did), "uid": by.uid, "pid": by.pid}
    events.tell(
        attachment if checks.NAME.fullmatch(attachment) else "", "operation", **told, **({"code": code} if code else {})
    )


def named(*places: Mapping[str, Any]) -> dict[str, str]:
    """What a request is about: the first place that has a member counts; passwords in addresses are left out."""
    found: dict[str, str] = {}
    for key in NAMED:
        value = next((place[key] for place in places if key in place), None)
        if isinstance(value, str | int | list):
            found[key] = _USERINFO.sub("//...@", ascii(value).strip("'\""))[:SHOWN]
    return found
