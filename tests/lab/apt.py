"""The package sources of this machine, narrowed to one release, as arguments for mmdebstrap."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.lab.errors import LabError

ETC_APT = Path("/etc/apt")
DEBIAN_SUFFIXES = ("", "-updates", "-security", "/updates")
ONE_LINE = re.compile(r"^(?P<head>deb\s+(?:\[[^]]*\]\s+)?\S+\s+)(?P<suite>\S+)(?P<rest>.*)$")


def machine_release() -> str:
    """The code name of this machine's Debian, such as bookworm; empty when it has none."""
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    return ""


def sources(release: str, *, etc: Path = ETC_APT, own: str | None = None) -> dict[str, str]:
    """File name -> content of the sources that carry `release`.

    Only Debian's suites of the machine's own release (`own`) are kept, renamed to `release`.
    """
    own = machine_release() if own is None else own
    kept: dict[str, str] = {}
    paths = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    for path in paths:
        if not path.is_file() or path.suffix not in (".list", ".sources"):
            continue
        narrow = narrow_deb822 if path.suffix == ".sources" else narrow_one_line
        if content := narrow(path.read_text(), own, release):
            kept[path.name] = content
    if not kept:
        raise LabError(
            f"no package source of this machine carries {own or 'a Debian release'}",
            remedy="the lab uses the sources in /etc/apt: add Debian's there",
        )
    return kept


def narrow_deb822(text: str, own: str, release: str) -> str:
    """The stanzas of a .sources file that name suites of `own`, with these renamed to `release`."""
    kept = []
    without_comments = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", without_comments):
        fields = re.search(r"^Suites:(.*)$", stanza, re.MULTILINE)
        main = re.search(r"^Components:.*\bmain\b", stanza, re.MULTILINE)
        disabled = re.search(r"^Enabled:\s*no\s*$", stanza, re.MULTILINE | re.IGNORECASE)
        if fields is None or disabled or not main or not re.search(r"^Types:.*\bdeb\b(?!-)", stanza, re.MULTILINE):
            continue
        suites = [renamed for suite in fields[1].split() if (renamed := rename(suite, own, release))]
        if suites:
            kept.append(stanza.replace(fields[0], f"Suites: {' '.join(suites)}").strip() + "\n")
    return "\n".join(kept)


def narrow_one_line(text: str, own: str, release: str) -> str:
    """The `deb` lines of a .list file that name a suite of `own`, renamed to `release`."""
    kept = []
    for line in text.splitlines():
        found = ONE_LINE.match(line.strip())
        if found and "main" in found["rest"].split() and (suite := rename(found["suite"], own, release)):
            kept.append(f"{found['head']}{suite}{found['rest']}\n")
    return "".join(kept)


def rename(suite: str, own: str, release: str) -> str:
    """bookworm-updates -> trixie-updates; bookworm/updates too; empty for a suite of somebody else."""
    suffix = suite.removeprefix(own)
    return release + suffix if suite.startswith(own) and suffix in DEBIAN_SUFFIXES else ""


def acquire_options() -> list[str]:
    """How this machine fetches packages (proxies, dates, TLS): its `Acquire::*` settings, as apt options."""
    dump = subprocess.run(["apt-config", "dump"], check=True, text=True, stdout=subprocess.PIPE).stdout
    wanted = re.compile(r'^Acquire::(http|https|ftp|Check-|Retries|Proxy|ForceIPv)\S* "[^"]+";$', re.IGNORECASE)
    return [line for line in dump.splitlines() if wanted.match(line)]
