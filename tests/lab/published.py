"""Every answer seen in the lab is held against the published contract, not against what the code happens to say."""

import re
from typing import Any

import jsonschema  # type: ignore[import-untyped]

from agent.api.openapi import document


def check(method: str, path: str, status: int, body: Any) -> None:
    """Raise `AssertionError` unless the contract has this answer, and the body is what its schema says."""
    contract = document()
    answers = _operation(contract, method, path.partition("?")[0])["responses"]
    answer = answers.get(str(status))
    if answer is None:
        assert status >= 400, f"{method} {path}: the contract knows no {status}"
        answer = contract["components"]["responses"]["Problem"]
    content = next(iter(answer.get("content", {}).values()), None)
    if content is None:
        return
    schema = content["schema"] | {"components": contract["components"]}
    errors = [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(body)]
    assert not errors, f"{method} {path} answered {status}: {errors}"


def _operation(contract: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    for template, operations in contract["paths"].items():
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, path) and method.lower() in operations:
            found: dict[str, Any] = operations[method.lower()]
            return found
    raise AssertionError(f"the contract knows no {method} {path}")
