"""The rules of the house, held by tests: who may import whom, how large things may grow, what is never written."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = sorted(p for top in ("agent", "attachers", "opennebula") for p in (ROOT / top).rglob("*.py"))
DRIVERS = "opennebula/lib/"
EVERYTHING = sorted({*PRODUCT, *(p for top in ("tests", "demo", "bench") for p in (ROOT / top).rglob("*.py"))})
MAX_MODULE = 400
MAX_FUNCTION = 50

PURE = {
    *("collections", "dataclasses", "enum", "functools", "hashlib", "ipaddress", "math", "re", "struct", "types"),
    *("typing", "xml"),
}
"""What a module of attachers/ may import from outside: nothing that reaches the world."""

SPAWNERS = {"subprocess", "pyroute2", "libvirt", "rtslib_fb", "fcntl"}
"""What only the host seam, the helper and its workers may import; the doctor, who looks when the daemon is
down; and what gives its own pipe a size, its own memory a seal."""

MAY_SPAWN = (
    "agent/host/",
    "agent/helper/",
    "agent/workers/",
    "agent/store.py",
    "agent/cli/doctor_host.py",
    "agent/splice.py",
    "agent/shown_memory.py",
    "opennebula/lib/cdmi_one/allowed.py",
    "opennebula/lib/cdmi_one/error_hook.py",
    "opennebula/lib/cdmi_one/importing.py",
    "opennebula/lib/cdmi_one/remote.py",
    "opennebula/lib/cdmi_one/setup/changes.py",
    "opennebula/lib/cdmi_one/oned.py",
)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def module_of(path: Path) -> str:
    return name_of(path).removeprefix(DRIVERS).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@pytest.mark.parametrize("path", PRODUCT, ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    for module in imports_of(path):
        top = module.partition(".")[0]
        assert top not in ("tests", "demo", "bench"), f"the product does not import {module}"
        if name_of(path).startswith("attachers/"):
            assert top in PURE | {"attachers"}, f"attachers/ is pure and may not import {module}"
        elif top in SPAWNERS:
            assert name_of(path).startswith(MAY_SPAWN), f"{module} belongs behind the host seam"


@pytest.mark.parametrize("path", [path for path in PRODUCT if name_of(path).startswith(DRIVERS)], ids=name_of)
def test_drivers_need_nothing_but_an_older_python(path: Path) -> None:
    """They run on front-ends: Python 3.9 of its distribution, and nothing of ours."""
    text = path.read_text()
    ast.parse(text, feature_version=(3, 9))
    for module in imports_of(path):
        top = module.partition(".")[0]
        assert top == "cdmi_one" or top in sys.stdlib_module_names - {"tomllib"}, f"{module} is not there"
    if " | " in text:
        assert "from __future__ import annotations" in text, "X | None is for later versions, but in annotations"


def test_commands_start_without_the_daemon() -> None:
    for path in (ROOT / "agent" / "cli").rglob("*.py"):
        for module in imports_of(path):
            assert not module.startswith(("aiohttp", "agent.engine", "agent.api", "agent.cdmi", "agent.host"))


def test_no_import_cycles() -> None:
    known = {module_of(path): path for path in PRODUCT}
    graph = {name: {m for m in imports_of(path) if m in known} for name, path in known.items()}
    for start in graph:
        seen: set[str] = set()
        todo = set(graph[start])
        while todo:
            module = todo.pop()
            assert module != start, f"{start} is in an import cycle"
            if module not in seen:
                seen.add(module)
                todo |= graph[module]


@pytest.mark.parametrize("path", EVERYTHING, ids=name_of)
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_MODULE, "is there a second job inside?"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION, f"{node.name} is too long"


@pytest.mark.parametrize("path", PRODUCT, ids=name_of)
def test_modules_say_what_they_are_for(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring and docstring[0].isupper() | docstring[0].isdigit() | (docstring[0] in "`i")


@pytest.mark.parametrize("path", EVERYTHING, ids=name_of)
def test_what_is_never_written(path: Path) -> None:
    if path == Path(__file__):
        return
    text = path.read_text()
    assert not re.search(r"unittest\.mock|MagicMock|AsyncMock", text), "a behaving fake, or the lab, instead"
    assert not re.search(r"(^|[^_a-z.])time\.sleep\(", text), "wait for the thing, with a deadline"
    if path in PRODUCT:
        assert not re.search(r"asyncio\.sleep\((?!0\))", text), "wait for the thing, with a deadline"
        assert not re.search(r"except( Exception)?:\s*(pass|continue)$", text, re.MULTILINE), "a swallowed error"


def test_no_python_beside_the_units() -> None:
    assert not list((ROOT / "systemd").rglob("*.py")), "it would shadow the systemd package"
