"""Which accelerator works on this machine: KVM is tried in a short run, never assumed."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.lab.cache import Cache
from tests.lab.hostcheck import tool

TRY_S = 20
SAID = b"BusyBox v"
"""What the first process, busybox without arguments, prints before it ends, and with it the machine."""


def accelerator(cache: Cache, image: Path) -> str:
    """`kvm` or `tcg`. What the short run told is kept until the machine boots again, or QEMU or `image` changes."""
    now = {"boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(), "qemu": qemu_stamp()}
    now |= {"kvm": str(os.access("/dev/kvm", os.R_OK | os.W_OK)), "image": image.name}
    memory = cache.root / "accelerator.json"
    try:
        known = json.loads(memory.read_text())
    except (OSError, ValueError):
        known = {}
    if {key: known.get(key) for key in now} == now:
        return str(known["accelerator"])
    chosen = "kvm" if now["kvm"] == "True" and runs("kvm", image) else "tcg"
    memory.write_text(json.dumps({**now, "accelerator": chosen}))
    return chosen


def runs(accel: str, image: Path, *, within_s: float = TRY_S) -> bool:
    """Does the guest's kernel get as far as a process of its own with this accelerator, within seconds?

    KVM may abort (`failed to set MSR 0x10a`), or run the BIOS and never leave the kernel's first instructions.
    """
    command = [
        tool("qemu-system-x86_64"), "-machine", "q35", "-accel", accel, "-cpu", "max", "-m", "256", "-nodefaults",
        "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
        "-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd"),
        "-append", "console=ttyS0 panic=-1 rdinit=/bin/busybox",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=within_s)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0 and SAID in done.stdout


def qemu_stamp() -> str:
    """Identifies the installed QEMU without running it: a snapshot belongs to the QEMU that made it."""
    state = Path(tool("qemu-system-x86_64")).resolve().stat()
    return f"{state.st_size}-{state.st_mtime_ns}"


def cpu_model() -> str:
    """The machine's CPU as /proc/cpuinfo names it: under KVM a snapshot belongs to the CPU that made it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
