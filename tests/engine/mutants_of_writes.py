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
        "and object_of(row.granted_at) == object_of(grant.uri)",
        "and row.granted_at == grant.uri",
    ),
    Mutant(
        "an export removed on the strength of an old look",
        "agent/cdmi/unexporting.py",
        "        if took_s > max(wire.limits.settle_s, SLOWER * usual_s):\n",
        "        if took_s < 0:\n",
    ),
)
