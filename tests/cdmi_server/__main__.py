"""The server as a program: python -m tests.cdmi_server --state DIR."""

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from attachers.checks import wwpn
from tests.cdmi_server.dialects import DIALECTS
from tests.cdmi_server.hostile import ATTACKS
from tests.cdmi_server.runner import serving
from tests.cdmi_server.settings import Settings
from tests.cdmi_server.targets import TargetsError, TargetsMode


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    chosen = _parser().parse_args(arguments)
    try:
        asyncio.run(_serve(chosen))
    except (OSError, RuntimeError, TargetsError) as error:
        print(f"cdmi_server: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cdmi_server", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="where all of it is kept")
    parser.add_argument("--listen", default="127.0.0.1:8443", metavar="HOST:PORT", help="port 0 takes a free one")
    parser.add_argument("--root", default="/cdmi/", type=_root, help="path of the root URI")
    parser.add_argument("--tls", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--tls-name", nargs="+", action="extend", default=[], metavar="HOST", help="more names of it")
    parser.add_argument("--user", help="ask for Basic authentication")
    parser.add_argument("--password-file", type=Path, metavar="FILE")
    parser.add_argument("--targets", type=TargetsMode, choices=list(TargetsMode), default=TargetsMode.SIMULATED)
    parser.add_argument("--portal", nargs="+", action="extend", metavar="IP[:PORT]", help="default 127.0.0.1")
    parser.add_argument("--iqn-prefix", default="iqn.2026-01.org.example:cdmi", metavar="IQN")
    parser.add_argument("--nfs-root", type=Path, metavar="DIR", help="below it, data objects are files")
    parser.add_argument("--nfs-exports", action="store_true", help="export what names hosts to these (exportfs, root)")
    parser.add_argument("--dialect", choices=list(DIALECTS), default="1.1", help="the version of CDMI to speak")
    parser.add_argument("--hostile", choices=list(ATTACKS), default="", metavar="ATTACK", help="spoil what is read")
    parser.add_argument("--fc-target", nargs="+", action="extend", default=[], type=wwpn, metavar="WWPN")
    parser.add_argument("--fc-initiator", nargs="+", action="extend", default=[], type=wwpn, metavar="WWPN")
    parser.add_argument("--keep-targets", action="store_true", help="leave LIO's targets when stopping")
    return parser


def _root(text: str) -> str:
    inner = text.strip("/")
    return f"/{inner}/" if inner else "/"


def _settings(chosen: argparse.Namespace) -> Settings:
    password = chosen.password_file.read_text().rstrip("\n") if chosen.password_file else ""
    return Settings(
        state=chosen.state,
        root=chosen.root,
        user=chosen.user,
        password=password,
        targets=chosen.targets,
        portals=tuple(chosen.portal or ("127.0.0.1",)),
        iqn_prefix=chosen.iqn_prefix,
        keep_targets=chosen.keep_targets,
        fc_targets=tuple(chosen.fc_target),
        fc_initiators=tuple(chosen.fc_initiator),
        nfs_root=chosen.nfs_root,
        nfs_exports=chosen.nfs_exports,
        dialect=chosen.dialect,
        hostile=chosen.hostile,
    )


async def _serve(chosen: argparse.Namespace) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    host, _, port = chosen.listen.rpartition(":")
    settings = _settings(chosen)
    where = {"host": host.strip("[]"), "port": int(port), "tls": chosen.tls, "names": tuple(chosen.tls_name)}
    async with serving(settings, **where) as server:
        ca_file = str(server.ca_file) if server.ca_file else None
        print(json.dumps({"url": server.url, "ca_file": ca_file, "state": str(server.state)}), flush=True)
        _notify("READY=1")
        await stopping.wait()
        _notify("STOPPING=1")


def _notify(message: str) -> None:
    """Tell systemd, where it wants to know (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.sendto(message.encode(), address.replace("@", "\0", 1) if address.startswith("@") else address)


if __name__ == "__main__":
    sys.exit(main())
