"""What takes long on a server: clones and snapshots. Committed before they begin, looked after until they have ended.

A restart takes up what is under way: nothing was at the destination just before the server was asked, and that was
committed, so what is there then is ours. What failed is deleted, as CDMI wants it from its clients, if it is proved to
be ours. How long something takes is the server's affair: it is given up when the server says so, or says nothing.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from agent.engine import changing, making
from agent.engine.attached import refuse_attached
from agent.engine.clearing import clear_away, refuse_another
from agent.engine.desk import Desk
from agent.engine.in_hand import held, refuse_changing, source_keys
from agent.engine.ledger import CHANGES, Operation
from agent.engine.making import refuse_taken, silence_of
from agent.engine.pause import longer, pause, pauses
from agent.engine.touched import refuse_touched
from agent.log import caller
from agent.model import Making, MakingState, OperationState
from agent.uses import CAREFUL, Despite
from attachers.problems import Code, Problem

log = logging.getLogger(__name__)
LONGEST_S = 6 * 3600.0
"""How long a server may be away before what it was asked for is given up."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0
Task = asyncio.Task[None]


class Operations:
    """Implements `agent.model.Operations`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._tasks: dict[str, Task] = {}

    def start(self) -> None:
        """Go on with what the ledger says is under way."""
        for operation in list(self._desk.ledger.operations.values()):
            if operation.state is OperationState.RUNNING:
                self._spawn(operation)

    async def stop(self) -> None:
        """Stop looking; the servers go on, and so do we at the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def clone(
        self, source: str, destination: str, *, size: int | None, metadata: Mapping[str, str], wait_s: float
    ) -> tuple[bool, dict[str, Any]]:
        """See `agent.model.Operations`."""
        wanted = replace(_new("clone", source, self._desk.cdmi.place(destination)), size=size, metadata=dict(metadata))
        return await self._begin(wanted, wait_s)

    async def snapshot(self, source: str, name: str, *, wait_s: float) -> tuple[bool, dict[str, Any]]:
        """See `agent.model.Operations`."""
        place = self._desk.cdmi.snapshot_place(source, name)
        return await self._begin(Operation(_new_id(), "snapshot", source, place, name=name), wait_s)

    async def create(
        self, destination: str, *, kind: str, size: int | None, metadata: Mapping[str, str], wait_s: float
    ) -> tuple[bool, dict[str, Any]]:
        """See `agent.model.Operations`."""
        place = self._desk.cdmi.place(destination)
        wanted = Operation(_new_id(), "create", "", place, name=kind, size=size, metadata=dict(metadata))
        return await self._begin(wanted, wait_s)

    async def move(
        self, source: str, destination: str, *, wait_s: float, despite: Despite = CAREFUL
    ) -> tuple[bool, dict[str, Any]]:
        """See `agent.model.Operations`."""
        return await self._begin(_despite(_new("move", source, self._desk.cdmi.place(destination)), despite), wait_s)

    async def restore(
        self, source: str, name: str, *, wait_s: float, despite: Despite = CAREFUL
    ) -> tuple[bool, dict[str, Any]]:
        """See `agent.model.Operations`."""
        wanted = replace(_new("restore", source, self._desk.cdmi.place(source)), name=name)
        return await self._begin(_despite(wanted, despite), wait_s)

    def view(self, operation_id: str) -> dict[str, Any]:
        """See `agent.model.Operations`."""
        operation = self._desk.ledger.operations.get(operation_id)
        if operation is None:
            detail = f"id: there is no operation {ascii(operation_id)[1:-1][:80]}"
            raise Problem(Code.NOT_FOUND, detail, hint="those that ended are kept for a while only")
        return {
            "id": operation.id,
            "kind": operation.kind,
            "source": operation.source or None,
            "destination": operation.destination,
            "state": str(operation.state),
            "percent": operation.percent,
            "uri": operation.uri or None,
            "object_id": operation.object_id or None,
            "note": operation.note or None,
            "problem": dict(operation.problem) if operation.problem else None,
        }

    async def _begin(self, wanted: Operation, wait_s: float) -> tuple[bool, dict[str, Any]]:
        async with self._desk.locks.hold([f"destination:{wanted.destination}"]):
            operation = await self._known(wanted) or await self._committed(wanted)
            if operation.state is OperationState.RUNNING and operation.id not in self._tasks:
                self._spawn(operation)
            task = self._tasks.get(operation.id)
        if task is not None:
            await asyncio.wait({task}, timeout=wait_s)
        now = self._desk.ledger.operations[operation.id]
        if now.state is OperationState.FAILED:
            raise _problem_of(now)
        return now.state is OperationState.DONE, self.view(operation.id)

    async def _known(self, wanted: Operation) -> Operation | None:
        """The same operation, under way or done: a repeated request joins it. Raises `Problem` where another is."""
        for known in reversed(self._desk.ledger.operations.values()):
            if known.destination != wanted.destination or known.state is OperationState.FAILED:
                continue
            same = known.is_like(wanted)
            if known.state is OperationState.RUNNING and not same:
                detail = f"destination: {known.destination} is being made by the operation {known.id}"
                raise Problem(Code.BUSY, detail, hint="wait for that, or choose another place")
            if known.state is OperationState.RUNNING:
                return known
            if known.kind == "restore":  # what was written since may be gone again
                continue
            there = await self._desk.cdmi.look(known.destination)
            ours = bool(known.object_id) and there.object_id.casefold() == known.object_id.casefold()
            return known if same and ours and there.state is MakingState.COMPLETE else None
        return None

    async def _committed(self, wanted: Operation) -> Operation:
        """The intent, once it has been seen that nothing is there."""
        here = {wanted.destination.rstrip("/")}
        refuse_touched(self._desk.touched, here, f"destination: {wanted.destination}")
        with self._desk.touched.hold(here):  # until the ledger says it: nobody writes there meanwhile
            if wanted.kind in CHANGES:
                wanted = await changing.checked(self._desk, wanted, mine=here)
            else:
                await self._refuse_taken(wanted)
                keys = await source_keys(self._desk, wanted.source) if wanted.source else ()
                wanted = replace(wanted, keys=tuple(sorted(keys)))
            operation = await self._desk.ledger.keep(replace(wanted, since=time.time(), by=caller.get()))
        self._spawn(operation)
        return operation

    async def _refuse_taken(self, wanted: Operation) -> None:
        """Raises `Problem` where something is at the destination: in-use where it, or what is in it, is attached."""
        there = await self._desk.cdmi.look(wanted.destination)
        if there.state is MakingState.COMPLETE:
            refuse_attached(self._desk, await self._desk.cdmi.stat(wanted.destination), field="destination")
        refuse_taken(wanted, there)

    def _spawn(self, operation: Operation) -> None:
        task = asyncio.create_task(self._run(operation), name=f"operation {operation.id}")
        self._tasks[operation.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(operation.id, None))

    async def _run(self, operation: Operation) -> None:
        """To its end: done, or failed and deleted. What cannot be reached or written down is tried again."""
        heard = self._desk.host.now()
        making.hear(self._desk, operation)
        for wait_s in longer(FIRST_PAUSE_S, LONGEST_PAUSE_S):
            try:
                operation = await self._step(self._desk.ledger.operations[operation.id])
            except Problem as problem:
                if self._desk.host.now() - heard >= _patience_s(problem):
                    with suppress(Problem):  # else it is not written down: at its next step it fails once more
                        await self._fail(operation, problem)
                        return
                log.warning("%s: %s; tried again", operation.describe(), problem.detail)
            else:
                heard = self._desk.host.now()
            if operation.state is not OperationState.RUNNING:
                self._tell_end(operation)
                return
            await pause(self._desk.host, self._desk.host.now() + wait_s)

    async def _step(self, operation: Operation) -> Operation:
        """Look, and do the one next thing: begin it, note how far it is, or give it exports and end it."""
        if operation.kind in CHANGES:
            return await changing.step(self._desk, operation)
        there = await making.look(self._desk, operation)
        if not operation.begun:
            return await self._ask(refuse_taken(operation, there))
        refuse_another(operation, there)
        operation = await self._known_by_mark(operation, there)
        unproved = not operation.answered and not operation.owned and there.mark != operation.id
        match there.state:
            case MakingState.MISSING if not operation.answered and silence_of(self._desk, operation) > making.UNHEARD_S:
                return await self._ask(operation)
            case MakingState.MISSING if operation.answered and silence_of(self._desk, operation) > making.INVISIBLE_S:
                detail = f"{operation.describe()}: nothing is to be seen of it"
                raise Problem(Code.CDMI_REFUSED, detail, hint="see the CDMI server's log")
            case MakingState.FAILED:
                await self._keep(operation, object_id=operation.object_id or ("" if unproved else there.object_id))
                detail = f"{operation.describe()}: the server says {there.says}"
                raise Problem(Code.CDMI_REFUSED, detail, hint="see the CDMI server's log")
            case MakingState.COMPLETE if unproved:
                making.refuse_unproved(self._desk, operation)
            case MakingState.COMPLETE:
                return await self._complete(operation, there)
            case MakingState.PROCESSING if not unproved:
                return await self._keep(operation, percent=there.percent, object_id=there.object_id)
        return operation

    async def _known_by_mark(self, operation: Operation, there: Making) -> Operation:
        """Ours by what our request has put into it, also where its answer was lost."""
        if there.mark != operation.id or not there.object_id:
            return operation
        return await self._keep(operation, object_id=there.object_id, owned=True)

    async def _ask(self, operation: Operation) -> Operation:
        """Ask the server, after committing that we do. What is being changed by now is not copied."""
        refuse_changing(self._desk, frozenset(operation.keys), f"source: {operation.source}", but=operation.id)
        log.info("%s", operation.describe())
        operation, made = await self._keep(operation, begun=True, begun_at=time.time()), ""
        making.hear(self._desk, operation)
        if operation.kind == "snapshot":
            async with held(self._desk, operation.source):  # a delete either sees it, or comes first
                await self._desk.cdmi.snapshot(operation.source, operation.name)
        elif operation.kind == "create":
            size, metadata = operation.size, dict(operation.metadata)
            made = await self._desk.cdmi.create(
                operation.destination, kind=operation.name, size=size, metadata=metadata, mark=operation.id
            )
        else:
            size, metadata = operation.size, dict(operation.metadata)
            made = await self._desk.cdmi.copy(
                operation.source, operation.destination, size=size, metadata=metadata, mark=operation.id
            )
        return await self._keep(operation, answered=True, object_id=made, owned=bool(made))

    async def _complete(self, operation: Operation, there: Making) -> Operation:
        operation = await self._keep(operation, object_id=there.object_id)
        if operation.kind == "clone":
            to, object_id = operation.destination, there.object_id
            async with held(self._desk, to, object_id=object_id):  # an attach of it may be writing its permissions
                await self._desk.cdmi.prove_copy(operation.source, to, size=operation.size, object_id=object_id)
                await self._mark(operation)
                await self._desk.cdmi.export_like(operation.source, to, object_id=object_id)
        if operation.kind in ("create", "clone") and operation.size is not None:
            await self._fill(operation.destination, operation.size, there.object_id)
        return await self._keep(operation, state=OperationState.DONE, percent=100, uri=there.uri)

    async def _mark(self, operation: Operation) -> None:
        """Let the copy have the items of its own, where the server has passed over them."""
        if operation.metadata:
            there = (await self._desk.cdmi.stat(operation.destination)).metadata
            if missing := {name: text for name, text in operation.metadata.items() if there.get(name) != text}:
                await self._desk.cdmi.change(operation.destination, missing)

    async def _fill(self, uri: str, size: int, object_id: str) -> None:
        """Let what was made have its size, or the little more that a server rounds it up to."""
        async with held(self._desk, uri, object_id=object_id) as found:
            if found.size is None or found.size < size:
                await self._desk.cdmi.resize(
                    uri, size, shrink=False, pause=pauses(self._desk.host), object_id=object_id
                )

    async def _fail(self, operation: Operation, problem: Problem) -> None:
        """Delete what was begun, as far as that can be done, and say what was wrong."""
        log.error("%s failed: %s", operation.describe(), problem.detail)
        operation = self._desk.ledger.operations[operation.id]
        begun = operation.begun and operation.kind not in CHANGES
        left = await clear_away(self._desk, operation) if begun else ""
        told = Problem(problem.code, f"{problem.detail}{left}", hint=problem.hint, step=problem.step)
        self._tell_end(await self._keep(operation, state=OperationState.FAILED, problem=told.as_dict()))
        self._desk.heard.pop(operation.id, None)

    def _tell_end(self, operation: Operation) -> None:
        """Who had it done, and what came of it: the caller may have gone long ago."""
        what, outcome = operation.describe(), str(operation.state)
        log.info("%s: %s, for %s", what, outcome, operation.by or "the daemon")
        code = {"code": str(operation.problem["code"])} if operation.problem else {}
        told = {"operation": operation.kind, "what": what, "outcome": outcome, "id": operation.id, "by": operation.by}
        self._desk.events.tell("", "operation", **told, **code)

    async def _keep(self, operation: Operation, **changes: Any) -> Operation:
        changed = replace(operation, **changes)
        return operation if changed == operation else await self._desk.ledger.keep(changed)


def _patience_s(problem: Problem) -> float:
    """For how long, after the last word of the server, a problem is no end."""
    if problem.code in (Code.CDMI_UNREACHABLE, Code.UNAVAILABLE):
        return LONGEST_S
    return making.INVISIBLE_S if isinstance(problem, making.NotToldError) else 0.0


def _new(kind: str, source: str, destination: str) -> Operation:
    return Operation(_new_id(), kind, source, destination)


def _despite(operation: Operation, despite: Despite) -> Operation:
    """With what the caller says to know."""
    return replace(operation, object_id=despite.object_id, despite_permitted=despite.permitted)


def _new_id() -> str:
    return secrets.token_hex(8)


def _problem_of(operation: Operation) -> Problem:
    told = operation.problem or {}
    code = Code(told.get("code", Code.INTERNAL))
    return Problem(code, str(told.get("detail", "")), hint=str(told.get("hint", "")), step=operation.describe())
