"""The doctor on cdmi-attachd itself: units, configuration, who may call, credentials, servers."""

import shlex
import tomllib
from collections.abc import Iterator
from typing import Any

from agent.cli.client import UNREACHABLE, Failure
from agent.cli.doctor_host import CONFIG, NOT_FOUND, Finding, Host, failure, ok, unchecked, warning
from agent.cli.doctor_storage import INSTALL

OUR_UNITS = ("cdmi-attach-helperd.socket", "cdmi-attachd.socket", "cdmi-attach-helperd.service", "cdmi-attachd.service")
CREDENTIALS = "/etc/cdmi-attach/credentials"
DAEMON = "cdmi-attach"
CONTROL = "/run/cdmi-attach/control.sock"
FILES = ("password_file", "token_file", "mutual_password_file")
"""Keys of the configuration that name a file with a secret."""


def units(host: Host) -> Finding:
    """Both sockets listen, and both services run."""
    if host.units is None:
        return unchecked("systemd does not answer")
    for name in OUR_UNITS:
        unit = host.units[name]
        means = "nothing answers the socket" if name.endswith(".socket") else "what was attached is not looked after"
        if unit.load == "masked":
            return failure(f"{name} is masked", means, f"systemctl unmask {name} && systemctl enable --now {name}")
        if unit.load == "not-found":
            return failure(f"{name} is not installed", means, INSTALL)
        if unit.active == "failed" or unit.active == "activating":
            mend = f"systemctl restart {name}"
            return failure(f"{name} is {unit.active} (journalctl -u {name} says why)", means, mend)
        if unit.active != "active":
            return failure(f"{name} is {unit.active}", means, f"systemctl enable --now {name}")
        if unit.file == "disabled":
            return warning(f"{name} does not start at boot", means + " after a boot", f"systemctl enable {name}")
    return ok("sockets and services are active")


def health(host: Host) -> Finding:
    """The daemon answers, and says that it is well."""
    try:
        host.ask("/healthz")
    except Failure as error:
        reasons = (error.problem or {}).get("reasons")
        if reasons:
            mend = "systemctl restart cdmi-attach-helperd.service cdmi-attachd.service"
            return failure(f"cdmi-attachd is not well: {'; '.join(map(str, reasons))}", "attaches may fail", mend)
        if error.status == UNREACHABLE:
            mend = "systemctl start cdmi-attachd.socket" if host.uid == 0 else "sudo cdmi-attach doctor"
            return failure(error.detail, "no request reaches it", mend)
        return failure(error.detail, "attaches may fail", "systemctl restart cdmi-attachd.service")
    return ok("cdmi-attachd is well")


def config(host: Host) -> Finding:
    """The configuration is valid, by the daemon's own judgement."""
    done = host.checked_config
    if done.status == 0:
        servers = (host.config or {}).get("server", [])
        if not servers:
            means = "only servers that are named there are ever contacted: nothing can be attached"
            return warning("no [[server]] is configured", means, f"${{EDITOR:-vi}} {CONFIG}")
        return ok(f"the configuration is valid: {len(servers)} server{'s' if len(servers) > 1 else ''}")
    if done.status == NOT_FOUND:
        return failure("there is no cdmi-attachd", "nothing can be attached", INSTALL)
    said = next((line for line in done.err.splitlines() if line.strip()), f"it ended with status {done.status}")
    if host.uid != 0 and "ermission denied" in done.err:
        return unchecked("only root and the daemon may read the configuration")
    place, _, rest = said.partition(": ")
    file, _, line = place.rpartition(":")
    at = f"+{line} {shlex.quote(file)}" if line.isdigit() else CONFIG
    means = "a reload changes nothing, and a restart ends in a daemon that does not run"
    command = next((part for part in reversed(rest.split("; ")) if part.startswith(("chown ", "install "))), "")
    return failure(said, means, command or f"${{EDITOR:-vi}} {at} && systemctl reload-or-restart cdmi-attachd.service")


def group(host: Host) -> Finding:
    """The group whose members may call is there, owns the socket, and has the caller in it."""
    name, control = str((host.config or {}).get("socket", {}).get("group", "cdmi-attach")), host.path(CONTROL)
    if host.config is None and control.exists():  # not everybody may read the configuration: the socket tells as well
        name = str(control.stat().st_gid)
    entry = host.run(["getent", "group", name]).out.strip().split(":")
    if len(entry) < 4 or not entry[2].isdigit():
        return failure(f"there is no group {name}", "only root may call", f"groupadd --system {shlex.quote(name)}")
    name, gid = entry[0], int(entry[2])
    if control.exists() and control.stat().st_gid != gid:
        folder = "/etc/systemd/system/cdmi-attachd.socket.d"
        mend = (
            f"mkdir -p {folder} && printf '[Socket]\\nSocketGroup=%s\\n' {shlex.quote(name)} > {folder}/group.conf && "
            "systemctl daemon-reload && systemctl restart cdmi-attachd.socket cdmi-attachd.service"
        )
        return failure(f"{CONTROL} is not of the group {name}", "its members cannot open it", mend)
    if host.uid == 0:
        return ok(f"root may call, and the group {name}")
    if gid in host.groups:
        return ok(f"{host.user} is in the group {name}")
    if host.user in entry[3].split(","):
        return warning(
            f"{host.user} is in the group {name}, but not in this session", "calls are refused", f"newgrp {name}"
        )
    return failure(
        f"{host.user} is not in the group {name}", "calls are refused", f"sudo usermod -aG {name} {host.user}"
    )


def credentials(host: Host) -> Finding:
    """Secrets are the daemon's, and nobody else's."""
    means = "others on this host can read it, and cdmi-attachd does not use it then"
    try:
        folder = host.path(CREDENTIALS)
        if folder.is_dir() and folder.stat().st_mode & 0o077:
            return failure(f"{CREDENTIALS} is open to others", means, f"chmod 0700 {CREDENTIALS}")
        for name, owner in _secret_files(host):
            path, quoted = host.path(name), shlex.quote(name)
            if not path.exists():
                mend = f"install -m 0400 -o {owner} /dev/stdin {quoted}"
                return failure(f"there is no {name}", "its server refuses us", mend)
            found = path.stat()
            if found.st_mode & 0o077 or host.owner(found.st_uid) not in (owner, host.user):
                whose = "the daemon's" if owner == DAEMON else "root's"
                says = f"{name} is not {whose} alone ({found.st_mode & 0o777:04o})"
                return failure(says, means, f"chown {owner} {quoted} && chmod 0400 {quoted}")
    except PermissionError:
        return unchecked("only root may look at the credentials")
    return ok("secrets are closed to others")


def _secret_files(host: Host) -> Iterator[tuple[str, str]]:
    """Every file that the configuration names for a secret, valid or not in the rest, and whose it has to be."""
    folder = host.path(CONFIG).parent
    for path in (host.path(CONFIG), *sorted(folder.glob("conf.d/*.toml"))):
        if path.exists():
            try:
                yield from _named(tomllib.loads(path.read_text()))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError):
                continue  # the check of the configuration says it


def _named(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    servers = document.get("server", [])
    for server in servers if isinstance(servers, list) else ():
        for table, owner in ((server, DAEMON), (server.get("chap", {}), "root")):
            yield from ((str(table[key]), owner) for key in FILES if key in table)


def servers(host: Host) -> Finding:
    """Each configured server takes a connection, and shows a certificate that is trusted."""
    if host.config is None:
        return unchecked("the servers are not known without a valid configuration", "cdmi-attachd --check-config")
    found = host.config.get("server", [])
    for server in found:
        url, ca_file = str(server.get("url")), str(server.get("ca_file") or "")
        if wrong := host.dial(url, ca_file):
            trust = f"--cacert {shlex.quote(ca_file)} " if ca_file else ""
            means = "its objects cannot be attached; the command shows more, the remedy is there or in between"
            return failure(f"{url}: {wrong}", means, f"curl -sv {trust}-o /dev/null {shlex.quote(url)}")
    if not found:
        return unchecked("no server is configured", f"${{EDITOR:-vi}} {CONFIG}")
    return ok(f"{len(found)} server{'s take' if len(found) > 1 else ' takes'} connections")
