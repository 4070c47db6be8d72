"""Values on the wire between daemon and helper: steps, queries, sights and problems, and frames on a stream socket.

A step, query or sight is {"type": its class, then its fields}; a nested value has no type, since its place tells it.
The checks of every step and query run again on each side, as it is decoded.
"""

import asyncio
import json
import struct
from collections.abc import Mapping
from typing import Any

from agent import strictjson
from agent.values import bad, build, decode, object_of, same_names, to_json
from attachers.problems import Code, Problem
from attachers.sights import QUERIES, SIGHTS, Query, Sight
from attachers.steps import STEPS, Step

MAX_FRAME = 1 << 20
_LENGTH = struct.Struct(">I")
_KINDS: Mapping[str, type] = {cls.__name__: cls for cls in (*STEPS, *QUERIES, *SIGHTS)}
_PROBLEM = frozenset({"type", "code", "detail", "hint", "step", "status", "final"})


def encode(value: Step | Query | Sight | Problem) -> dict[str, Any]:
    """The value as a JSON object."""
    if isinstance(value, Problem):
        parts = {"code": str(value.code), "detail": value.detail, "hint": value.hint}
        return {"type": "Problem", **parts, "step": value.step, "status": value.status, "final": value.final}
    return {"type": type(value).__name__, **to_json(value)}


def decode_step(value: object, *, path: str = "value") -> Step:
    """The step that a JSON object stands for.

    Raises `Problem`: bad-request when it is none, naming the place; invalid-request when a field is not what it may be.
    """
    step: Step = _tagged(value, STEPS, path)
    return step


def decode_query(value: object, *, path: str = "value") -> Query:
    """The query that a JSON object stands for; raises like `decode_step`."""
    query: Query = _tagged(value, QUERIES, path)
    return query


def decode_sight(value: object, *, path: str = "value") -> Sight:
    """The sight that a JSON object stands for; raises like `decode_step`."""
    sight: Sight = _tagged(value, SIGHTS, path)
    return sight


def decode_problem(value: object, *, path: str = "problem") -> Problem:
    """The problem that a JSON object stands for, to be raised; raises bad-request when it is none."""
    members = object_of(value, path)
    same_names(members, _PROBLEM, path)
    texts = {name: decode(str, members[name], f"{path}.{name}") for name in ("detail", "hint", "step")}
    code: Code = decode(Code, members["code"], f"{path}.code")
    status: int = decode(int, members["status"], f"{path}.status")
    final: bool = decode(bool, members["final"], f"{path}.final")
    return Problem(code, texts["detail"], hint=texts["hint"], step=texts["step"], status=status, final=final)


def pack(message: Mapping[str, Any]) -> bytes:
    """A message as a frame: four bytes of length (big endian), then JSON. Raises `Problem` (`too-large`)."""
    body = json.dumps(message, separators=(",", ":"), allow_nan=False).encode()
    if len(body) > MAX_FRAME:
        raise Problem(Code.TOO_LARGE, f"a message of {len(body)} bytes is longer than {MAX_FRAME}")
    return _LENGTH.pack(len(body)) + body


async def read_frame(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """The next message, None at the end of the stream.

    Raises `Problem` (`bad-request`, `too-large`) after which the stream is of no use, `OSError` when it broke.
    """
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > MAX_FRAME:
            raise Problem(Code.TOO_LARGE, f"a message of {length} bytes is longer than {MAX_FRAME}")
        body = await reader.readexactly(length)
    except asyncio.IncompleteReadError:
        return None
    return parse(body)


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object in a frame. Raises `Problem` (`bad-request`)."""
    try:
        return strictjson.loads(body)
    except ValueError as error:
        raise Problem(Code.BAD_REQUEST, f"not a JSON message: {ascii(str(error))[1:-1][:200]}") from None


def _tagged(value: object, kinds: tuple[type, ...], path: str) -> Any:
    members = object_of(value, path)
    name = members.get("type")
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None or kind not in kinds:
        raise bad(f"{path}.type", f"{ascii(name)[:80]} is none of {', '.join(one.__name__ for one in kinds)}")
    return build(kind, {key: one for key, one in members.items() if key != "type"}, path)
