"""Planted bugs in what is written and deleted on servers."""

from tests.engine.mutant import Mutant

OF_WRITES = (
    Mutant(
        "a change that is sent again behind our back",
        "agent/cdmi/wire.py",
        '        data = None if method == "GET" else Once(one_piece(body or b""))\n',
        "        data = body\n",
    ),
    Mutant(
        "a reference followed before it is deleted",
        "agent/cdmi/deleting.py",
        "    answer = await wire.delete(server, found.named)\n",
        "    answer = await wire.delete(server, found.url)\n",
    ),
    Mutant(
        "what is only to be deleted counts as gone",
        "agent/cdmi/deleting.py",
        "    await _see(lambda: _is_gone(wire, found), pause, ",
        "    answer.status == 202 or await _see(lambda: _is_gone(wire, found), pause, ",
    ),
    Mutant(
        "one without its ID taken for another than what was deleted",
        "agent/cdmi/deleting.py",
        "    another = ids[0] != ids[1] if all(ids) else bool(ids[0]) and _is_implied(now)\n",
        "    another = ids[0] != ids[1]\n",
    ),
    Mutant(
        "one look that fails after a DELETE ends the waiting",
        "agent/cdmi/deleting.py",
        "        return None if await look() else still\n    except Problem as problem:\n",
        "        return None if await look() else still\n    except BlockingIOError as problem:  # type: ignore\n",
    ),
    Mutant(
        "a client is closed while something is deleted by it",
        "agent/engine/objects.py",
        """\
            async with self._using() as cdmi:
                await self._delete(cdmi, source, despite)
""",
        """\
            await self._delete(self._desk.cdmi, source, despite)
""",
    ),
    Mutant(
        "what is being deleted is said to have failed",
        "agent/cdmi/deleting.py",
        "status=UNDER_WAY if later else None)",
        "status=None)",
    ),
    Mutant(
        "a server is asked to copy what it says not to copy",
        "agent/cdmi/capable.py",
        "    if COPIES in mine and not flag(mine[COPIES]):\n",
        "    if COPIES not in mine and not mine.keys():\n        return\n    if not mine:\n",
    ),
    Mutant(
        "a LUN asked whether its pool takes copies",
        "agent/cdmi/copies.py",
        "        await insist_on_copies(wire, above)",
        "        await insist_on_copies(wire, source)",
    ),
    Mutant(
        "a restore that was passed over counts as done",
        "agent/engine/changing.py",
        "    if operation.worked or (operation.modified and now and now != operation.modified):\n",
        "    if operation.answered:\n",
    ),
    Mutant(
        "what is at both places counts as moved",
        "agent/engine/changing.py",
        "    if there.state is MakingState.MISSING or another:\n",
        "    if operation.object_id or there.state is MakingState.MISSING or another:\n",
    ),
    Mutant(
        "work of before its answer proves a restore",
        "agent/engine/changing.py",
        "modified=modified, worked=False)",
        "modified=modified)",
    ),
    Mutant(
        "a time that stands still is never held against a restore",
        "agent/engine/changing.py",
        ' that of its snapshot" if kept == now else ""\n',
        ' that of its snapshot"\n',
    ),
    Mutant(
        "a size that is told is missing while the server works on",
        "agent/cdmi/changes.py",
        "    if has == size:\n",
        "    if has == size and not pending_of(found.members):\n",
    ),
    Mutant(
        "a size that is only on its way counts as there",
        "agent/cdmi/changes.py",
        "    if has == size:\n",
        "    if has == size or pending_of(found.members):\n",
    ),
    Mutant(
        "a look that fails after a change is the failure of the change",
        "agent/engine/changing.py",
        "        if problem.code not in (Code.CDMI_REFUSED, Code.NOT_FOUND):\n",
        "        if True:\n",
    ),
    Mutant(
        "a snapshot that was used up contradicts its restore",
        "agent/cdmi/restored.py",
        "        if problem.code is Code.NOT_FOUND:\n",
        "        if False:\n",
    ),
    Mutant(
        "an operation that ages by the wall clock",
        "agent/engine/operations.py",
        "if self._desk.host.now() - heard >= _patience_s(problem):",
        "if time.time() - operation.since >= _patience_s(problem):",
    ),
    Mutant(
        "whatever is at its place cleared away with what failed",
        "agent/engine/clearing.py",
        "    proved = operation.owned or (operation.answered and there.state is MakingState.FAILED)\n",
        "    proved = bool(operation.object_id)\n",
    ),
    Mutant(
        "a permission withdrawn that an attachment through another server relies on",
        "agent/engine/desk.py",
        "((object_of(row.granted_at), row.key) == where and row.relies_on(grant.initiator))",
        "((row.granted_at, row.key) == (grant.uri, grant.key) and row.relies_on(grant.initiator))",
    ),
    Mutant(
        "an export removed on the strength of an old look",
        "agent/cdmi/unexporting.py",
        "        if took_s > max(wire.limits.settle_s, SLOWER * usual_s):\n",
        "        if took_s < 0:\n",
    ),
    Mutant(
        "a mend that goes on by a plan that was given up",
        "agent/engine/engine.py",
        "        await self._mending.stop(name)  # it works by the plan of before, which may be given up now\n",
        "",
    ),
    Mutant(
        "a repeated hand-over that is refused takes the disk back",
        "agent/engine/domains.py",
        "if not had and wanted in",
        "if wanted in",
    ),
    Mutant(
        "another host's object taken for ours where the answer was lost",
        "agent/engine/operations.py",
        "        unproved = not operation.answered and not operation.owned and there.mark != operation.id\n",
        "        unproved = False\n",
    ),
    Mutant(
        "a value of another host's that begins and ends like ours taken for it where the answer was lost",
        "agent/cdmi/uploads.py",
        """    if (told is None or told[0] != "sha256") and not heard:\n""",
        "    if False:\n",
    ),
    Mutant(
        "what has no ID is moved by whatever is at its destination",
        "agent/engine/changing.py",
        ' if operation.kind == "move" and not (operation.object_id or operation.answered):\n',
        " if False:\n",
    ),
    Mutant(
        "whatever a server made of a copy is one",
        "agent/cdmi/copied.py",
        "    if why := await differ(wire, before, made, size):\n",
        '    if why := "":\n',
    ),
    Mutant(
        "a host is said to be fenced off that has been let in again",
        "agent/cdmi/fences.py",
        "    _insist_on_it(found, after, names)\n",
        "",
    ),
)
