"""The units: what the daemon gives up, what the helper must not be given, and that systemd understands them."""

import argparse
import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from agent import timeouts

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNITS = ("cdmi-attachd.socket", "cdmi-attachd.service", "cdmi-attach-helperd.socket", "cdmi-attach-helperd.service")

# reliability: each of these gives a unit its own mount namespace, and keeps its mounts from the host.
BREAK_HOST_MOUNTS = frozenset(
    """ProtectSystem ProtectHome PrivateTmp PrivateDevices PrivateMounts PrivateIPC PrivateUsers ProtectKernelTunables
    ProtectKernelModules ProtectKernelLogs ProtectControlGroups ProtectProc ProcSubset ReadOnlyPaths ReadWritePaths
    InaccessiblePaths NoExecPaths ExecPaths BindPaths BindReadOnlyPaths TemporaryFileSystem LogNamespace MountFlags
    DynamicUser RootDirectory RootImage MountImages ExtensionImages""".split()  # noqa: SIM905
)
CLOSE_DEVICES = ("DevicePolicy", "DeviceAllow", "ProtectClock", "PrivateNetwork")


def unit(name: str) -> dict[str, dict[str, list[str]]]:
    """Sections and their settings, each with all its values."""
    sections: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in (SYSTEMD / name).read_text().splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section = header[1]
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            sections.setdefault(section, {}).setdefault(key, []).append(value)
    return sections


@pytest.mark.parametrize("name", UNITS)
def test_nothing_is_deleted_with_a_service(name: str) -> None:
    assert "RuntimeDirectory" not in (SYSTEMD / name).read_text()


def test_the_helper_stays_in_the_hosts_mount_namespace() -> None:
    service = unit("cdmi-attach-helperd.service")["Service"]
    assert not set(service) & {*BREAK_HOST_MOUNTS, *CLOSE_DEVICES}
    assert "User" not in service
    assert service["KillMode"] == ["mixed"] and int(service["TimeoutStopSec"][0]) >= 60
    assert service["UMask"] == ["0022"], "QEMU goes through the directories that it makes"


def test_the_daemon_keeps_its_callers_names() -> None:
    service = unit("cdmi-attachd.service")["Service"]
    assert "PrivateUsers" not in service, "SO_PEERCRED would be nobody's"
    assert service["User"] == ["cdmi-attach"]
    assert service["CapabilityBoundingSet"] == [""] and service["ProtectSystem"] == ["strict"]


@pytest.mark.parametrize("name", ["cdmi-attachd.service", "cdmi-attach-helperd.service"])
def test_storage_comes_back(name: str) -> None:
    sections = unit(name)
    assert sections["Unit"]["StartLimitIntervalSec"] == ["0"]
    assert sections["Service"]["Restart"] == ["always"]
    assert "libvirtd.service" in sections["Unit"]["Before"][0]
    assert sections["Service"]["StateDirectoryMode"] == ["0700"]
    assert "ExecStop" not in sections["Service"], "stopping never detaches"


def test_guests_end_before_their_disks_and_start_without_waiting_for_storage() -> None:
    """A machine's scope is stopped before what it is ordered after, and waits at its start for what is starting."""
    after = " ".join(unit("machine-.scope.d/50-cdmi-attach.conf")["Unit"]["After"]).split()
    assert {"cdmi-attach-helperd.service", "iscsid.service", "open-iscsi.service", "remote-fs.target"} <= {*after}
    assert "cdmi-attachd.service" not in after, "it is ready only when its storage is"
    assert int(unit("cdmi-attachd.service")["Service"]["TimeoutStartSec"][0]) > timeouts.BOOT_S


def test_who_may_open_the_sockets() -> None:
    api, helper = (unit(name)["Socket"] for name in ("cdmi-attachd.socket", "cdmi-attach-helperd.socket"))
    assert (api["SocketMode"], api["SocketGroup"], api["FileDescriptorName"]) == (["0660"], ["cdmi-attach"], ["api"])
    assert (helper["SocketMode"], helper["SocketUser"]) == (["0600"], ["cdmi-attach"])


def test_the_services_run_what_the_wheel_installs() -> None:
    project = configparser.ConfigParser()
    text = (SYSTEMD.parent / "pyproject.toml").read_text()
    project.read_string("[scripts]\n" + text.partition("[project.scripts]\n")[2].partition("\n[")[0])
    for name in ("cdmi-attachd", "cdmi-attach-helperd"):
        assert name in project["scripts"]
        assert unit(f"{name}.service")["Service"]["ExecStart"][0] == f"/usr/sbin/{name}"


@pytest.fixture
def staged(tmp_path: Path) -> list[Path]:
    """The units, with programs that exist: `verify` looks for them."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    for name in UNITS:
        text = (SYSTEMD / name).read_text()
        (tmp_path / name).write_text(re.sub(r"^(Exec\w+)=/usr/sbin/.*", r"\1=/bin/true", text, flags=re.MULTILINE))
    return [tmp_path / name for name in UNITS]


def test_systemd_understands_every_line(staged: list[Path]) -> None:
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, staged)], capture_output=True, text=True, check=False
    )
    ours = [line for line in result.stderr.splitlines() if "cdmi-attach" in line]
    assert (result.returncode, ours) == (0, [])


@pytest.mark.parametrize(("name", "limit"), [("cdmi-attachd.service", 1.2), ("cdmi-attach-helperd.service", 4.8)])
def test_the_exposure_does_not_grow(staged: list[Path], name: str, limit: float) -> None:
    path = next(path for path in staged if path.name == name)
    result = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = re.search(r"exposure level for \S+: ([\d.]+)", result.stdout)
    assert found is not None, result.stderr
    assert float(found[1]) <= limit


@pytest.mark.parametrize("name", ["install.sh", "uninstall.sh"])
def test_the_scripts_are_plain_sh(name: str) -> None:
    subprocess.run(["sh", "-n", str(SYSTEMD / name)], check=True)
    assert (SYSTEMD / name).read_text().startswith("#!/bin/sh\n")


def test_the_example_configuration_is_valid() -> None:
    from agent.config import Attach, Config, load_config

    assert load_config(SYSTEMD / "config.toml.example") == Config(attach=Attach())


@pytest.mark.parametrize("page", ["cdmi-attach.1", "cdmi-attachd.8", "cdmi-attachd.conf.5"])
def test_manual_pages_format_quietly(page: str) -> None:
    if shutil.which("man") is None:
        pytest.skip("needs man")
    path = SYSTEMD.parent / "docs" / page
    result = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_the_manual_names_every_key_and_option() -> None:
    from agent.cli.main import parser

    docs = SYSTEMD.parent / "docs"
    usage = "".join(action.format_help() for action in _parsers(parser()))
    manual = (docs / "cdmi-attach.1").read_text().replace("\\-", "-")
    assert {*re.findall(r"--[a-z]+", usage)} - {"--help"} <= {*re.findall(r"--[a-z]+", manual)}


def _parsers(top: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    verbs = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    return [top, *(verb for action in verbs for verb in action.choices.values())]


def test_what_multipath_is_told_goes_with_us() -> None:
    place = "/etc/multipath/conf.d/cdmi-attach.conf"
    install, uninstall = ((SYSTEMD / name).read_text() for name in ("install.sh", "uninstall.sh"))
    assert f"DROPIN={place}" in install and 'install -D -m 0644 "$HERE/multipath.conf" "$DROPIN"' in install
    assert f"rm -f {place}" in uninstall
    said = (SYSTEMD / "multipath.conf").read_text()
    (pattern,) = re.findall(r'^\twwid "(.*)"$', said, re.MULTILINE)
    (name,) = re.findall(r'ENV\{ID_SERIAL\}="(cdmi-attach-)', (SYSTEMD / "10-cdmi-attach.rules").read_text())
    assert re.match(pattern, f"{name}6:0:0:1"), "what udev calls an unproved disk is what multipathd leaves alone"
