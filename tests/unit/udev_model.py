"""A udev for a tree of files: it runs our very rule file on a device, and keeps the links and entries as udev does.

Of systemd's rules only what the file uses: matches, `TEST`, `IMPORT{file}`, `GOTO`, assignments of `ENV` and `SYMLINK`
(src/udev/udev-rules.c). Of two devices that claim a link the newcomer has it; when it goes, the other one gets it.
"""

import os
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from agent.host import dm
from agent.host.proofs import RULE
from agent.host.roots import Roots

RULES = Path(__file__).parents[2] / "systemd" / RULE
_TOKEN = re.compile(r'(\w+)(?:\{([^}]*)\})?(==|!=|\+=|:=|=)"([^"]*)"')


class Udev:
    """udev on these roots, with our rule installed or not. Its workers are those of `Tools`: see `call`."""

    def __init__(self, roots: Roots, *, rule: bool = True) -> None:
        self.roots = roots
        self.claims: dict[str, list[str]] = {}
        lines = RULES.read_text().replace("\\\n", " ").splitlines() if rule else []
        self._rules = [_TOKEN.findall(line) for line in lines if line and not line.startswith("#")]
        (roots.run / "udev/data").mkdir(parents=True)
        (roots.run / "udev/control").touch()
        if rule:
            (roots.modules.parent / "udev/rules.d").mkdir(parents=True)
            (roots.modules.parent / "udev/rules.d" / RULE).write_text(RULES.read_text())

    async def call(self, name: str, args: dict[str, Any], *, timeout_s: float, what: str = "") -> None:
        """A worker that writes to sysfs: the kernel sends an event for it."""
        assert name == "write" and args["text"] == "change" and timeout_s > 0 and what
        self.event(Path(args["path"]).parent.name)

    def event(self, node: str) -> dict[str, str]:
        """An add or change event of a disk (sda) or a map (dm-0). Returns the properties of its new entry."""
        block = self.roots.sys / "block" / node
        env = {"ACTION": "change", "SUBSYSTEM": "block", "DEVTYPE": "disk"}
        if (block / "diskseq").exists():
            env["DISKSEQ"] = (block / "diskseq").read_text().strip()
        links = self._run(node, env)
        self._link(node, links)
        told = [f"E:{key}={value}" for key, value in env.items() if not key.startswith(".")]
        lines = [*(f"S:{link}" for link in links), *told]
        self._entry(node).write_text("\n".join([*lines, ""]))
        return env

    def remove(self, node: str) -> None:
        """The device has gone, and its links go with it."""
        self._entry(node).unlink(missing_ok=True)
        self._link(node, [])
        (self.roots.dev / node).unlink()
        (self.roots.sys / "block" / node).unlink()

    def _entry(self, node: str) -> Path:
        number = (self.roots.sys / "block" / node / "dev").read_text().strip()
        return self.roots.run / f"udev/data/b{number}"

    def _link(self, node: str, links: list[str]) -> None:
        for link in {*links, *self.claims}:
            owners = [one for one in self.claims.get(link, []) if one != node]
            had = node in self.claims.get(link, [])
            self.claims[link] = [*owners, node] if link in links else owners
            path = self.roots.dev / link
            if self.claims[link] and (link in links or had):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
                path.symlink_to(os.path.relpath(self.roots.dev / self.claims[link][-1], path.parent))
            elif had:
                path.unlink(missing_ok=True)

    def _run(self, node: str, env: dict[str, str]) -> list[str]:
        links: list[str] = []
        label = ""
        for line in self._rules:
            if label:
                label = "" if ("LABEL", "", "=", label) in line else label
                continue
            label = self._line(line, node, env, links)
        return links

    def _line(self, line: list[tuple[str, str, str, str]], node: str, env: dict[str, str], links: list[str]) -> str:
        """Returns the label that the line leads to, if any."""
        for key, inner, operator, raw in line:
            value = self._filled(raw, node, env)
            match key, operator:
                case "IMPORT", _:
                    if not self._imported(value, env):
                        return ""
                case _, "==" | "!=":
                    if any(fnmatchcase(self._seen(key, inner, value, node, env), one) for one in raw.split("|")) != (
                        operator == "=="
                    ) and not (key == "TEST" and Path(self._place(value)).exists() == (operator == "==")):
                        return ""
                case "ENV", _:
                    env[inner] = value
                case "SYMLINK", _:
                    links.append(value)
                case "GOTO", _:
                    return value
        return ""

    def _seen(self, key: str, inner: str, value: str, node: str, env: dict[str, str]) -> str:
        look: dict[str, Callable[[], str]] = {
            "KERNEL": lambda: node,
            "ENV": lambda: env.get(inner, ""),
            "ATTR": lambda: self._attribute(node, inner),
            "SUBSYSTEMS": lambda: "scsi" if dm.hctl_of(self.roots, node) else "",
            "KERNELS": lambda: dm.hctl_of(self.roots, node),
            "TEST": lambda: "\0",
        }
        return look[key]() if key in look else env.get(key, "")

    def _attribute(self, node: str, name: str) -> str:
        path = self.roots.sys / "block" / node / name
        return path.read_text().strip() if path.exists() else ""

    def _filled(self, text: str, node: str, env: dict[str, str]) -> str:
        text = text.replace("$id", dm.hctl_of(self.roots, node))
        text = re.sub(r"\$env\{([^}]*)\}", lambda found: env.get(found[1], ""), text)
        return re.sub(r"\$attr\{([^}]*)\}", lambda found: self._attribute(node, found[1]), text)

    def _place(self, path: str) -> str:
        return str(self.roots.run / path.removeprefix("/run/"))

    def _imported(self, path: str, env: dict[str, str]) -> bool:
        try:
            lines = Path(self._place(path)).read_text().splitlines()
        except OSError:
            return False
        env.update((key, value) for key, _, value in (line.partition("=") for line in lines))
        return True
