"""What a caller says of which one, and which request: numbers, beginnings of names, IDs of leftovers."""

import re
from collections.abc import Mapping
from typing import Any

from agent.api.fields import Fields
from agent.api.parse import MAX_GENERATION, known_query
from attachers import checks

LEFTOVER = re.compile(r"[0-9a-f]{12}", re.ASCII)


def leftover(body: dict[str, Any]) -> str | None:
    """The body of POST /v1/leftovers/clean: {"item": its ID}; None for all that may go."""
    fields = Fields(body)
    item = fields.text("item", limit=12) if body.get("item") is not None else None
    fields.known.add("item")
    fields.finish()
    if item is not None and not LEFTOVER.fullmatch(item):
        raise checks.refuse("item", item, "the ID of one that is listed")
    return item


def generation(query: Mapping[str, str]) -> int | None:
    """`?generation=N`; None without it."""
    text = query.get("generation")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= MAX_GENERATION):
        raise checks.refuse("generation", text, f"a number from 0 to {MAX_GENERATION}")
    return int(text)


def prefix(query: Mapping[str, str]) -> str:
    """`?prefix=`, what the names in a list begin with; empty: all."""
    known_query(query, "prefix")
    return checks.name(query["prefix"]) if query.get("prefix") else ""
