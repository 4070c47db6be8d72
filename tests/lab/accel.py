"""Which accelerator works on this machine: KVM is tried in a short run, never assumed."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.lab.cache import Cache
from tests.lab.hostcheck import tool

HELLO = '{"execute":"qmp_capabilities"}\n{"execute":"query-status"}\n{"execute":"quit"}\n'
TRY_S = 20


def accelerator(cache: Cache) -> str:
    """`kvm` or `tcg`. The answer of the short run is remembered until the machine boots again or QEMU changes."""
    now = {"boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(), "qemu": qemu_stamp()}
    now["kvm"] = str(os.access("/dev/kvm", os.R_OK | os.W_OK))
    memory = cache.root / "accelerator.json"
    try:
        known = json.loads(memory.read_text())
    except (OSError, ValueError):
        known = {}
    if {key: known.get(key) for key in now} == now:
        return str(known["accelerator"])
    chosen = "kvm" if now["kvm"] == "True" and kvm_runs() else "tcg"
    memory.write_text(json.dumps({**now, "accelerator": chosen}))
    return chosen


def kvm_runs() -> bool:
    """Does a machine with this CPU start and run under KVM? (It may abort: `failed to set MSR 0x10a`.)"""
    command = [
        tool("qemu-system-x86_64"), "-machine", "q35", "-accel", "kvm", "-cpu", "max", "-m", "64", "-nodefaults",
        "-display", "none", "-qmp", "stdio",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, input=HELLO, text=True, capture_output=True, timeout=TRY_S)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0 and '"status": "running"' in done.stdout


def qemu_stamp() -> str:
    """Identifies the installed QEMU without running it: a snapshot belongs to the QEMU that made it."""
    state = Path(tool("qemu-system-x86_64")).resolve().stat()
    return f"{state.st_size}-{state.st_mtime_ns}"


def cpu_model() -> str:
    """The machine's CPU as /proc/cpuinfo names it: under KVM a snapshot belongs to the CPU that made it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
