"""Both processes on a simulated host, and a CDMI server for them: started, restarted, looked at."""

import getpass
import grp
import http.client
import json
import os
import select
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

READY_S = 60.0
IDLE_CPU_S = 0.02
SIZE = 1 << 20
CONFIG = """\
[socket]
group = "{group}"

[[server]]
url = "{url}"
allow_http = true
storage_networks = ["127.0.0.0/8"]
"""
Process = subprocess.Popen[bytes]


class House:
    """A CDMI server, the helper and the daemon, each a process; all end with the block."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.socket = top / "control.sock"
        self._helper_socket = top / "helper.sock"
        self._stack = ExitStack()
        self.url = ""
        self.helper: Process
        self.daemon: Process

    def __enter__(self) -> "House":
        server = ["-m", "tests.cdmi_server", "--state", str(self.top / "server"), "--listen", "127.0.0.1:0", "--no-tls"]
        process = subprocess.Popen([sys.executable, *server], stdout=subprocess.PIPE)
        self._stack.callback(end, process)
        assert process.stdout
        self.url = json.loads(process.stdout.readline())["url"]
        group = grp.getgrgid(os.getgid()).gr_name
        (self.top / "config.toml").write_text(CONFIG.format(group=group, url=self.url))
        self.helper, _ = ready_after([sys.executable, "-m", "agent.helper.main", *self._helper_words()], self.top)
        self._stack.callback(end, self.helper)
        self.daemon = self._start()[0]
        self._stack.callback(lambda: end(self.daemon))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def restart_daemon(self) -> float:
        """Another daemon in place of the one that runs. Returns the time to READY=1 in ms."""
        end(self.daemon)
        self.daemon, took_ms = self._start()
        return took_ms

    def rest(self) -> float:
        """Wait until the daemon has nothing more to do. Returns the processor time that it had used by then, in s."""
        alive = os.pidfd_open(self.daemon.pid)
        try:
            used, before = cpu_s(self.daemon.pid), -1.0
            while used - before > IDLE_CPU_S and not select.select([alive], [], [], 0.5)[0]:
                used, before = cpu_s(self.daemon.pid), used
            return used
        finally:
            os.close(alive)

    def make_luns(self, names: Iterable[str]) -> dict[str, str]:
        """Make LUN containers on the server; their sources."""
        return {name: self._make_lun(name) for name in names}

    def _make_lun(self, name: str) -> str:
        body = {"metadata": {"cdmi_assignedsize": str(SIZE)}, "exports": {"Network/iSCSI": {"permissions": []}}}
        headers = {"X-CDMI-Specification-Version": "1.1.1", "Content-Type": "application/cdmi-container"}
        url = f"{self.url.rstrip('/')}/{name}/"
        put = urllib.request.Request(url, json.dumps(body).encode(), headers, method="PUT")
        with urllib.request.urlopen(put, timeout=30) as answer:
            made = json.load(answer)
        server = self.url.split("/")[2]
        return f"cdmi://{server}/cdmi_objectid/{made['objectID']}"

    def _start(self) -> tuple[Process, float]:
        (self.top / "daemon").mkdir(exist_ok=True)
        words = ["--config", str(self.top / "config.toml"), "--socket", str(self.socket)]
        words += ["--helper", str(self._helper_socket), "--state", str(self.top / "daemon")]
        return ready_after([sys.executable, "-m", "agent.daemon", *words], self.top)

    def _helper_words(self) -> list[str]:
        san = self.top / "server/san.json"
        words = ["--socket", str(self._helper_socket), "--state", str(self.top / "helper")]
        words += ["--config", str(self.top / "config.toml")]
        return [*words, "--user", getpass.getuser(), "--simulate", str(san)]


def ready_after(command: Sequence[str], top: Path) -> tuple[Process, float]:
    """Start a unit; the process, and how many ms it took until READY=1."""
    path = top / "notify.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as news, (top / "log").open("ab") as log:
        news.bind(str(path))
        news.settimeout(READY_S)
        began = time.perf_counter()
        process = subprocess.Popen(command, env=os.environ | {"NOTIFY_SOCKET": str(path)}, stdout=log, stderr=log)
        try:
            while b"READY=1" not in news.recv(4096):
                pass
        except TimeoutError:
            end(process)
            raise SystemExit(f"{command}: not ready:\n{(top / 'log').read_text()[-2000:]}") from None
        return process, (time.perf_counter() - began) * 1e3


def end(process: Process) -> None:
    """SIGTERM, and wait."""
    process.terminate()
    process.wait(timeout=READY_S)


def resident_mb(pid: int) -> float:
    """Resident memory of a process in MiB."""
    words = Path(f"/proc/{pid}/statm").read_text().split()
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def cpu_s(pid: int) -> float:
    """Processor time of a process so far (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=READY_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(READY_S)
        self.sock.connect(str(self._path))


def call(path: Path, method: str, route: str, body: Any = None) -> tuple[int, bytes]:
    """One request to the daemon; status and body."""
    connection = _Connection(path)
    try:
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, route, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
