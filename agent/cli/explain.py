"""What a source is, in sentences: enough for an administrator to mend a server's answer from it alone."""

import textwrap

from agent.cli import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

LABEL = 9
KINDS = {"container": "a container", "dataobject": "a data object"}
PROTOCOLS = {"iscsi": "iSCSI", "fc": "Fibre Channel", "nfs": "NFS", "occi": "OCCI", "cifs": "SMB", "http": "HTTP"}
NAMES = {"lun": "LUN", "wwid": "disk", "path": "file", "targets": "ports", "export": "export"}
HIDDEN = ("size", "object_id")
USES = {
    "iscsi": "logs in to {target} and takes LUN {lun}",
    "fc": "takes LUN {lun} behind the target's ports",
    "nfs": "mounts {server}:{export} with NFS {version} and takes the file {path} in it",
}


def text(answer: "dict[str, Any]", *, colours: bool = False) -> str:
    """The answer to POST /v1/resolve for people."""
    parts = [_object(answer), _way(answer)]
    entries = answer.get("exports") or ()
    found = any(entry.get("used") for entry in entries)
    parts += ["\n".join(_entry(entry, found=found, colours=colours)) for entry in entries]
    parts.append("\n".join(_end(answer, colours=colours)))
    return "\n\n".join(part for part in parts if part)


def _object(answer: "dict[str, Any]") -> str:
    kind = str(answer.get("kind"))
    size = answer.get("size")
    what = KINDS.get(kind, kind) + (f" of {show.size(size)}" if size is not None else ", whose size is not told")
    lines = [f"{show.visible(answer.get('name'))} is {what}."]
    lines += _fact("source", answer.get("source"))
    lines += _fact("object", answer.get("uri"))
    version = f", spoken to in CDMI {answer['version']}" if answer.get("version") else ""
    lines += _fact("server", f"{answer.get('server')}{version}") if answer.get("server") else []
    if not answer.get("object_id"):
        lines += _fact("note", "the server tells no object ID: it is known by its path only, and lost when it is moved")
    if answer.get("pending"):
        lines += _fact("not yet", answer["pending"])
    return "\n".join(lines)


def _way(answer: "dict[str, Any]") -> str:
    """How far the containers above a data object were climbed; or how many exports a container has."""
    above, count = answer.get("above") or (), len(answer.get("exports") or ())
    if not above:
        return "It has no exports." if not count else f"It has {count} export{'s' if count > 1 else ''}:"
    lines = ["A file is reached through a container above it. From below:"]
    for number, container in enumerate(above, 1):
        lines += _wrapped(f"{container.get('uri')} {container.get('says')}.", first=f"  {number}. ", rest=5)
    return "\n".join(lines)


def _entry(entry: "dict[str, Any]", *, found: bool, colours: bool) -> "Iterator[str]":
    """One entry; where one is found that is used, the others need no remedy unless they could be as good."""
    protocol = str(entry.get("protocol"))
    where = f", of {entry['at']}" if entry.get("at") else ""
    head = f"{entry.get('key')} ({PROTOCOLS.get(protocol, protocol)}{where})"
    said, colour = _verdict(entry)
    mark = show.paint(">" if entry.get("used") else "-", colour, on=colours)
    yield f"{mark} {show.visible(head)}: {show.paint(said, colour, on=colours)}"
    plan = entry.get("plan") or {}
    for name, value in plan.items():
        if name not in HIDDEN and value is not None:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            yield from _fact(NAMES.get(name, name), shown, indent=4)
    if entry.get("permissions") is not None:
        yield from _fact("lets in", ", ".join(entry["permissions"]) or "nobody yet", indent=4)
    if entry.get("reason"):
        yield from _fact("why", entry["reason"], indent=4)
    if entry.get("hint") and (protocol in USES or not found):
        yield from _fact("remedy", entry["hint"], indent=4)
    for note in entry.get("notes") or ():
        yield from _fact("note", note, indent=4)


def _verdict(entry: "dict[str, Any]") -> tuple[str, str]:
    """What is made of an entry, and its colour."""
    if entry.get("used"):
        return "this one is used", show.GREEN
    if entry.get("usable"):
        return "could be used, and comes after the one that is", ""
    return ("not ready yet", show.YELLOW) if entry.get("pending") else ("cannot be used", show.RED)


def _end(answer: "dict[str, Any]", *, colours: bool) -> "Iterator[str]":
    used = next((entry for entry in answer.get("exports") or () if entry.get("used")), None)
    if used is not None:
        uses = USES.get(str(used.get("protocol")), "uses it").format_map(_Plan(used.get("plan") or {}))
        permitted = "has this host let in, " if used.get("permissions") is not None else ""
        yield from _wrapped(f"An attach {permitted}{uses}.")
        return
    waits = any(entry.get("pending") for entry in answer.get("exports") or ()) or answer.get("pending")
    said = "An attach would wait for it." if waits else "Nothing of it can be attached here."
    yield show.paint(said, show.YELLOW if waits else show.RED, on=colours)
    hint = (answer.get("problem") or {}).get("hint")
    if hint and not any(entry.get("hint") == hint for entry in answer.get("exports") or ()):
        yield from _fact("remedy", hint)


class _Plan(dict[str, "Any"]):
    """A plan's values, with a word for what it does not have."""

    def __missing__(self, name: str) -> str:
        return "?"


def _fact(label: str, value: object, *, indent: int = 2) -> list[str]:
    return _wrapped(value, first=f"{'':{indent}}{label:{LABEL}}", rest=indent + LABEL)


def _wrapped(value: object, *, first: str = "", rest: int = 0) -> list[str]:
    """Lines of 80 columns; a word that is longer, as URLs are, stays whole."""
    return textwrap.wrap(
        show.visible(value),
        show.WIDTH,
        initial_indent=first,
        subsequent_indent=" " * rest,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]
