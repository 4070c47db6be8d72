"""The command, run as a program against the API over a fake engine: stdout, stderr, exit status."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.api.app import create_app
from agent.api.serve import serve
from agent.cli import show
from agent.cli.main import main
from tests.api.engine import FakeEngine, link

ROOT = Path(__file__).parents[2]
SOURCE = "cdmi://my.cdmi-server.tld/cdmi_objectid/45234"


@dataclass(frozen=True)
class Run:
    """What a run came to."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Command:
    """The command, pointed at a socket."""

    path: Path
    engine: FakeEngine
    capture: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> Run:
        self.capture.readouterr()
        try:
            status = main(["--socket", str(self.path), *words])
        except SystemExit as error:
            status = int(str(error.code))
        out, err = self.capture.readouterr()
        return Run(status, out, err)


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    path, ready, loop = tmp_path / "control.sock", threading.Event(), asyncio.new_event_loop()
    engines: list[FakeEngine] = []
    stopped = asyncio.Event()

    async def daemon() -> None:
        engines.append(FakeEngine())
        runner = await serve(create_app(engines[0], group_gid=None), path, group_gid=None, environ={})
        ready.set()
        await stopped.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(daemon()))
    thread.start()
    assert ready.wait(10)
    yield Command(path, engines[0], capsys)
    loop.call_soon_threadsafe(stopped.set)
    thread.join(10)
    loop.close()


def test_attach_prints_the_link_alone(command: Command) -> None:
    run = command("attach", SOURCE, "--name", "one-42-0", "--timeout", "5")
    assert (run.status, run.out) == (0, link("one-42-0") + "\n")
    assert run.err == "cdmi-attach: one-42-0: attached, by iscsi, 100 MiB, verified\n"
    assert command("attach", SOURCE, "--name", "one-42-0").out == run.out


def test_attach_passes_its_options_on(command: Command) -> None:
    words = (
        "--ro",
        "--protocol",
        "fc",
        "--protocol",
        "iscsi",
        "--domain",
        "one-42",
        "--target",
        "sda",
        "--timeout",
        "7",
        "--min-paths",
        "2",
    )
    assert command("attach", SOURCE, "--name", "a", *words).status == 0
    request = command.engine.requests["a"]
    assert (request.access, request.protocols, request.timeout_s) == ("ro", ("fc", "iscsi"), 7.0)
    assert request.min_paths == 2
    assert request.domain is not None and (request.domain.name, request.domain.target) == ("one-42", "sda")
    assert command("attach", SOURCE, "--name", "b", "--file").status == 1


def test_attach_and_detach_say_their_number(command: Command) -> None:
    assert command("attach", SOURCE, "--name", "a", "--share", "--generation", "7").status == 0
    request = command.engine.requests["a"]
    assert (request.share, request.generation) == (True, 7)
    assert command("detach", "a", "--generation", "8").status == 0 and command("detach", "a").status == 0
    assert command.engine.numbers == [8]
    assert command("detach", "a", "--generation", "-1").status == 1


def test_a_lease_is_asked_for_and_confirmed(command: Command) -> None:
    assert command("attach", SOURCE, "--name", "a", "--lease", "600").status == 0
    assert command.engine.requests["a"].lease_s == 600.0
    assert "lease    600 s, begins when it is attached" in command("status", "a").out
    kept = command.engine.requests
    run = command("confirm", "a", "--generation", "7")
    assert (run.status, run.out, run.err) == (0, "", "cdmi-attach: a stays until it is detached\n")
    assert kept["a"].lease_s is None and command.engine.numbers == [7]
    assert json.loads(command("confirm", "a", "--json").out)["name"] == "a"
    assert command("confirm", "b").status == 4


def test_leftovers_are_listed_and_cleaned(command: Command) -> None:
    told = {"kind": "unit", "things": [], "ours": True, "users": [], "cleanable": True, "why": None}
    may = {"id": "0123456789ab", "what": "LUN 1 of iqn.x", **told}
    stays = may | {"id": "ba9876543210", "what": "LUN 2", "cleanable": False, "why": "in use by vm"}
    assert command("leftovers").out == ""
    command.engine.leftovers.items = [may, stays]
    run = command("leftovers")
    assert run.out.startswith("0123456789ab  unit  LUN 1 of iqn.x  (may go)\n") and "stays: in use" in run.out
    assert json.loads(command("leftovers", "--json").out)["leftovers"] == [may, stays]
    assert command("leftovers", "0123456789ab").status == 2
    assert command("leftovers", "--clean", "aaaaaaaaaaaa").status == 4
    assert command("leftovers", "--clean", "x").status == 1
    run = command("leftovers", "--clean")
    assert run.status == 0 and len(run.out.splitlines()) == 1
    assert "LUN 2 stays: in use by vm" in run.err and command.engine.leftovers.items == [stays]


def test_all_disks_of_a_vm(command: Command) -> None:
    for name in ("one-4-0", "one-42-0", "one-42-1", "one-421-0"):
        command("attach", SOURCE, "--name", name)
    found = json.loads(command("status", "--vm", "42", "--json").out)["attachments"]
    assert [view["name"] for view in found] == ["one-42-0", "one-42-1"]
    assert "one-42-1" in command("status", "--vm", "42").out and "one-4-0" not in command("status", "--vm", "42").out
    nothing = command("status", "--vm", "5", "--json")
    assert (nothing.status, json.loads(nothing.out)) == (0, {"attachments": []})
    assert command("status", "one-42-0", "--vm", "42").status == 2
    assert command("status", "--vm", "../x").status == 1


def test_metadata_is_set_and_taken_away(command: Command) -> None:
    run = command("set-metadata", SOURCE, "owner=one=42", "note=", "old=1")
    assert (run.status, run.out) == (0, "")
    assert command.engine.objects.metadata == {"owner": "one=42", "note": "", "old": "1"}
    answer = json.loads(command("--json", "set-metadata", SOURCE, "--remove", "old").out)
    assert answer["metadata"] == {"owner": "one=42", "note": ""}
    for words in ((), ("colour",), ("=red",)):
        assert command("set-metadata", SOURCE, *words).status == 2
    assert command("set-metadata", SOURCE, "cdmi_size=1").status == 1


def test_detach_says_nothing_on_stdout_and_may_be_repeated(command: Command) -> None:
    command("attach", SOURCE, "--name", "a")
    absent = "a: there is no such attachment, nothing was done"
    for said in ("a is detached", absent, absent):
        run = command("detach", "a")
        assert (run.status, run.out, run.err) == (0, "", f"cdmi-attach: {said}\n")
    assert command("detach", "a", "--must-exist").status == 4


def test_what_was_not_there_to_be_deleted_or_fenced_is_said(command: Command) -> None:
    assert command("delete", SOURCE).err == f"cdmi-attach: {SOURCE} is deleted\n"
    assert command("delete", SOURCE).err == f"cdmi-attach: {SOURCE}: there is no such object, nothing was done\n"
    assert command("delete", SOURCE, "--must-exist").status == 4
    nobody = "iqn.2026-01.org.example:nobody"
    run = command("fence", SOURCE, nobody)
    assert run.status == 0 and f"{nobody}: no export lets it in, nothing was done\n" in run.err
    assert command("fence", SOURCE, nobody, "--must-exist").status == 4


def test_failures_have_their_exit_status_and_one_line(command: Command) -> None:
    command("attach", SOURCE, "--name", "a")
    command.engine.in_use.add("a")
    for words, status in (
        (("status", "b"), 4),
        (("resolve", "cdmi://s/missing"), 4),
        (("detach", "a"), 5),
        (("attach", "cdmi://s/other", "--name", "a"), 5),
        (("attach", "file:///x", "--name", "c"), 1),
        (("status", "../x"), 1),
    ):
        run = command(*words)
        assert (run.status, run.out) == (status, ""), words
        assert run.err.startswith("cdmi-attach: ") and run.err.count("\n") == 1
        assert "; " in run.err, "a sentence and its remedy"


def test_an_object_is_looked_at_and_deleted(command: Command) -> None:
    command.engine.objects.metadata = {"colour": "r\x1bed"}
    shown = command("stat", SOURCE).out.splitlines()
    assert shown[0].split() == ["name", "disk.img"]
    assert "size      100 MiB (104857600 bytes)" in shown
    assert f"hash      SHA256 {'00' * 32}" in shown
    assert "created   2026-01-01T00:00:00Z" in shown
    assert shown[-1] == "metadata  colour=r\\x1bed"
    assert json.loads(command("stat", SOURCE, "--json").out)["format"] == "qcow2"
    assert command("stat", "cdmi://s/missing").status == 4
    run = command("delete", SOURCE)
    assert (run.status, run.out, run.err) == (0, "", f"cdmi-attach: {SOURCE} is deleted\n")
    assert command.engine.objects.deleted == [SOURCE]
    command.engine.objects.attached = True
    assert command("delete", SOURCE).status == 5


def test_copies_and_snapshots(command: Command) -> None:
    run = command("clone", SOURCE, "cdmi://s/copy", "--size", "4096", "--metadata", "owner=vm 5")
    assert (run.status, run.out) == (0, "cdmi://s/copy\n")
    assert command.engine.operations.asked == [(SOURCE, "cdmi://s/copy", 4096, {"owner": "vm 5"}, 3600.0)]
    assert command("snapshot", SOURCE, "monday").out == f"{SOURCE}/cdmi_snapshots/monday/\n"
    late = command("clone", SOURCE, "cdmi://s/copy", "--timeout", "0")
    assert (late.status, late.out) == (6, "")
    assert "is under way, 40 % done; repeat the command" in late.err
    assert json.loads(command("snapshot", SOURCE, "x", "--json").out)["state"] == "done"
    assert command("clone", SOURCE, "cdmi://s/taken").status == 5
    assert command("clone", SOURCE, "cdmi://s/copy", "--metadata", "owner").status == 2


def test_usage_errors_are_two(command: Command) -> None:
    for words in (
        (),
        ("atach",),
        ("attach", SOURCE),
        ("attach", SOURCE, "--name", "a", "--domain", "d"),
        ("host", "x"),
    ):
        assert command(*words).status == 2


def test_json_is_the_daemons_answer(command: Command) -> None:
    command("attach", SOURCE, "--name", "a")
    for words in (("--json", "status"), ("status", "--json")):
        assert json.loads(command(*words).out)["attachments"][0]["name"] == "a"
    assert json.loads(command("attach", SOURCE, "--name", "a", "--json").out)["link"] == link("a")
    assert json.loads(command("--json", "host").out)["hostname"] == "host1"
    missing = command("--json", "status", "b")
    assert (missing.status, json.loads(missing.out)["code"]) == (4, "not-found")


def test_status_is_a_table_of_80_columns(command: Command) -> None:
    for name in ("one-42-0", "x" * 128):
        command("attach", SOURCE, "--name", name)
    lines = command("status").out.splitlines()
    assert lines[0].split() == ["NAME", "PHASE", "PROTO", "SIZE", "DEVICE"]
    assert lines[1].split() == ["one-42-0", "attached", "iscsi", "100", "MiB", "/dev/sda"]
    assert max(len(line) for line in lines) <= 80


def test_one_attachment_and_the_others_are_trees(command: Command) -> None:
    command("attach", SOURCE, "--name", "a")
    shown = command("status", "a").out
    assert shown.startswith("a  attached, iscsi, verified\n├─ source ")
    assert "│  └─ path     /dev/sda  2:0:0:3  via 10.0.0.1:3260  running\n" in shown
    assert shown.endswith("41 ms  log in to iqn... at 10.0.0.1:3260\n")
    assert (
        "- Network/NFSv4 (NFS): cannot be used\n    why      not in this version\n"
        in command("resolve", "cdmi://s/x").out
    )
    assert "hostname: host1\n" in command("host").out


def test_nobody_at_the_socket_is_three(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "control.sock"
    for _ in range(2):
        assert main(["--socket", str(path), "status"]) == 3
        assert "systemctl start cdmi-attachd.socket" in capsys.readouterr().err
        with socket.socket(socket.AF_UNIX) as stale:
            if not path.exists():
                stale.bind(str(path))


def test_a_daemon_that_goes_away_is_three(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=lambda: listener.accept()[0].close())
        thread.start()
        assert main(["--socket", str(path), "detach", "a"]) == 3
        thread.join(10)
    assert "every verb may be repeated" in capsys.readouterr().err


def test_watch_ends_with_sigterm(command: Command) -> None:
    words = [sys.executable, "-m", "agent.cli.main", "--socket", str(command.path), "status", "--watch"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith("NAME")
        child.terminate()
        assert child.wait(10) == 0


def test_a_reader_that_stops_reading_is_no_traceback(command: Command) -> None:
    here, there = os.pipe()
    os.close(here)
    words = [sys.executable, "-m", "agent.cli.main", "--socket", str(command.path), "host"]
    result = subprocess.run(words, stdout=there, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    os.close(there)
    assert (result.returncode, result.stderr) == (1, "")


def run_isolated(code: str) -> list[str]:
    """Run code as the installed command runs: no site, nothing of the environment. Returns its lines."""
    words = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(ROOT)!r})\n{code}"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()


def test_only_the_standard_library_is_loaded() -> None:
    modules = ", ".join(f"agent.cli.{path.stem}" for path in sorted((ROOT / "agent/cli").glob("[a-z]*.py")))
    foreign, ours = run_isolated(
        f"import {modules}\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(names - sys.stdlib_module_names - {'agent', 'sitecustomize', 'usercustomize'}))\n"
        "print(sorted({'.'.join(name.split('.')[:2]) for name in sys.modules if name.startswith('agent')}))\n"
    )
    assert foreign == "['__main__']"
    assert ours == "['agent', 'agent.cli']"


def test_a_plain_status_loads_nothing_that_takes_long(command: Command) -> None:
    *_, loaded = run_isolated(
        f"from agent.cli.main import main\nmain(['--socket', {str(command.path)!r}, 'status'])\n"
        "print(*sorted({'argparse', 'json', 're', 'enum', 'typing', 'dataclasses', 'http', 'socket', 'collections'}"
        " & set(sys.modules)))"
    )
    assert loaded == "", "each of these costs a good part of what the interpreter itself takes to start"


def test_nothing_shown_can_drive_the_terminal() -> None:
    assert show.visible("a\x1b[2Jb\nc") == "a\\x1b[2Jb\\nc"
    assert show.tree({"a": {"b": [], "c": [{"d": None}, {"d": True}]}}) == (
        "a:\n  b: none\n  c:\n    - d: -\n    - d: yes"
    )


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "-"), (0, "0 B"), (512, "512 B"), (1536, "1.5 KiB"), (104857600, "100 MiB"), (2**61, "2048 PiB")],
)
def test_sizes(count: int | None, text: str) -> None:
    assert show.size(count) == text


def test_objects_are_made_moved_and_brought_back(command: Command) -> None:
    engine = command.engine
    made = command("create", "cdmi://s/new", "--size", "4096", "--timeout", "5")
    assert (made.status, made.out) == (0, "cdmi://s/new\n")
    assert engine.operations.asked == [("cdmi://s/new", "container", 4096, {}, 5.0)]
    assert command("move", "cdmi://s/a", "cdmi://s/b").out == "cdmi://s/b\n"
    assert command("restore", "cdmi://s/a", "monday").out == "cdmi://s/a\n"
    assert ("cdmi://s/a", "monday", 3600.0) in engine.operations.asked
    assert command("restore", "cdmi://s/a", "untold").err == "cdmi-attach: nothing tells of it\n"
    late = command("move", "cdmi://s/a", "cdmi://s/b", "--timeout", "0")
    assert late.status == 6 and "is under way, 40 % done" in late.err


def test_objects_are_resized_fenced_and_counted(command: Command) -> None:
    objects = command.engine.objects
    objects.attached = True
    sized = command("set-size", SOURCE, "4096")
    assert (sized.status, sized.out) == (0, "4096\n") and "cdmi-attach resize one" in sized.err
    assert objects.asked[-1] == (SOURCE, 4096, False)
    fenced = command("fence", SOURCE, "iqn.2026-01.org.example:dead", "20:00:00:00:00:00:00:10")
    assert (fenced.status, fenced.out) == (0, "") and "iSCSI: withdrawn iqn." in fenced.err
    room = command("capacity", SOURCE)
    assert room.out.split() == ["used", str(10 << 30), "free", "-", "total", "-"]
    assert json.loads(command("capacity", SOURCE, "--json").out)["total"] is None
