"""`make run`: the daemon in the foreground on a simulated host, with a CDMI server that exports simulated LUNs."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STATE = Path("build/run")
LISTEN = "127.0.0.1:8480"
URL = f"http://{LISTEN}/cdmi/"
CONFIG = f"""\
[socket]
group = "{{group}}"

[[server]]
url = "{URL}"
allow_http = true
storage_networks = ["127.0.0.0/8"]
"""
VOLUMES = {"vol1": 64 << 20, "vol2": 128 << 20}


def main() -> int:
    """Run until Ctrl-C. Returns the daemon's exit status."""
    state, socket = STATE / "daemon", STATE / "control.sock"
    state.mkdir(parents=True, exist_ok=True)
    config = STATE / "config.toml"
    config.write_text(CONFIG.format(group=_own_group()))
    with server() as san:
        print(f"A CDMI server is at {URL}; try in another shell:\n")
        command = f"{Path(sys.executable).parent}/cdmi-attach --socket {socket}"
        for name in VOLUMES:
            print(f"    {command} attach cdmi://{LISTEN}/{volume(name)} --name {name}")
        print(f"    {command} status\n\nCtrl-C ends both.\n", flush=True)
        daemon = [sys.executable, "-m", "agent.daemon", "--config", str(config), "--socket", str(socket)]
        process = subprocess.Popen([*daemon, "--state", str(state), "--simulate", str(san)])
        try:
            return process.wait()
        except KeyboardInterrupt:
            return process.wait()


@contextmanager
def server() -> Iterator[Path]:
    """The CDMI server as a process of its own. Yields the file that describes its storage network."""
    state = STATE / "server"
    command = [sys.executable, "-m", "tests.cdmi_server", "--state", str(state), "--listen", LISTEN]
    process = subprocess.Popen([*command, "--no-tls", "--targets", "simulated"], stdout=subprocess.PIPE)
    try:
        assert process.stdout
        if not process.stdout.readline():
            raise SystemExit("the CDMI server did not start")
        yield state / "san.json"
    finally:
        process.terminate()
        process.wait()


def volume(name: str) -> str:
    """Make a LUN container, unless there is one. Returns its path by object ID, as a source has it."""
    body = {
        "metadata": {"cdmi_assignedsize": str(VOLUMES[name])},
        "exports": {"Network/iSCSI": {"permissions": []}},
    }
    kind = "application/cdmi-container"
    headers = {"X-CDMI-Specification-Version": "1.1.1", "Content-Type": kind, "Accept": kind}
    put = urllib.request.Request(f"{URL}{name}/", json.dumps(body).encode(), headers, method="PUT")
    del headers["Content-Type"]
    get = urllib.request.Request(f"{URL}{name}/", headers=headers)
    for request in (put, get):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                found = json.load(answer) if answer.length != 0 else {}
                if found.get("objectID"):
                    return f"cdmi_objectid/{found['objectID']}"
        except urllib.error.HTTPError as error:
            if request is get:
                raise SystemExit(f"{name}: {error}") from error
    raise SystemExit(f"the CDMI server does not tell the object ID of {name}")


def _own_group() -> str:
    import grp

    return grp.getgrgid(os.getgid()).gr_name


if __name__ == "__main__":
    sys.exit(main())
