"""INQUIRY sent to the device itself (SG_IO), and what its page 0x83 says: the proof of identity.

Runs in workers: the kernel may keep the answer waiting for as long as the transport recovers.
"""

import ctypes
import fcntl
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from attachers import unit_names
from attachers.problems import Code, Problem

SG_IO = 0x2285  # include/scsi/sg.h
FIRST_BYTES = 252  # what sg_inq asks first: some devices refuse more
MOST_BYTES = 8192
COMMAND_TIMEOUT_MS = 5000
DEVICE_IDENTIFICATION = 0x83
_LOGICAL_UNIT, _BINARY = 0, 1
CHECK_CONDITION = 2


TRIES = 4
"""A command that meets a unit attention is repeated three times, as sd does it (drivers/scsi/sd.c)."""
UNIT_ATTENTION = 6
"""The sense key (SPC-4 4.5.6): something has changed since the last command; only told once, instead of an answer."""


class Sense(NamedTuple):
    """Why a command was not done (SPC-4 4.5): sense key, additional sense code, and its qualifier."""

    key: int
    code: int
    qualifier: int


class MalformedPage(ValueError):
    """What a device answered is no page 0x83."""


class NoDisk(MalformedPage):
    """What a device answered is that it is something else than a disk."""


class UnitAttention(Problem):
    """The device says that something has changed, in place of an answer: the command has not been carried out."""


def designators(page: bytes) -> frozenset[str]:
    """The strong names of the logical unit in a VPD page 0x83 (SPC-4 7.8.6): `naa.` and `eui.` with hex digits.

    Names of ports and targets, weak ones (T10 vendor, vendor specific, groups) and those that say nothing
    (`unit_names.is_name`) are left out. Some targets fill the page up, or count its length wrongly: whole names before
    such a tail count. Raises `MalformedPage` for a page without a whole one that is cut off, another page, or one of a
    logical unit that is not there; `NoDisk` for one of a tape drive, ...
    """
    if len(page) < 4:
        raise MalformedPage(f"{len(page)} bytes only")
    qualifier, code, length = page[0] >> 5, page[1], int.from_bytes(page[2:4], "big")
    if qualifier:
        raise MalformedPage(f"no logical unit is there (peripheral qualifier {qualifier})")
    if kind := unit_names.kind_of(page[0] & 0x1F):
        raise NoDisk(f"it is a {kind}, and no disk")
    if code != DEVICE_IDENTIFICATION:
        raise MalformedPage(f"page 0x{code:02x} instead of 0x83")
    names, end = set(), min(len(page), 4 + length)
    flaw = f"{len(page)} of {4 + length} bytes" if end < 4 + length else ""
    offset = 4
    while offset < end:
        value = page[offset + 4 : offset + 4 + page[offset + 3]] if offset + 4 <= end else b""
        if offset + 4 > end or offset + 4 + page[offset + 3] > end:
            flaw = flaw or f"the designator at byte {offset} is cut off"
            break
        names.add(_strong_name(page[offset] & 0x0F, page[offset + 1], value))
        offset += 4 + len(value)
    found = frozenset(name for name in names if unit_names.is_name(name))
    if flaw and not found:
        raise MalformedPage(flaw)
    return found


def _strong_name(code_set: int, kind: int, value: bytes) -> str:
    """`naa.…`, `eui.…`, or nothing; whether it is a name at all is for `unit_names.is_name`."""
    if (kind >> 4) & 0x3 != _LOGICAL_UNIT:
        return ""
    match kind & 0x0F:
        case 3 if code_set == _BINARY:
            return f"naa.{value.hex()}"
        case 2 if code_set == _BINARY:
            return f"eui.{value.hex()}"
        case 8:
            return value.rstrip(b"\0").decode("ascii", errors="replace").lower()
    return ""


def inquiry(nodes: list[str]) -> list[str]:
    """Send INQUIRY page 0x83 through the first of these nodes that can be opened; the device's strong names, sorted.

    `nodes` are paths of bsg or SCSI disk nodes of one device. Raises `OSError`, or `Problem` when the answer is none.
    """
    fd = _open_first(nodes)
    try:
        return sorted(identify(fd, bsg="/bsg/" in str(Path(f"/proc/self/fd/{fd}").readlink())))
    finally:
        os.close(fd)


def _open_first(nodes: list[str]) -> int:
    errors = []
    for node in nodes:
        try:
            return os.open(node, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            errors.append(str(error))
    raise Problem(Code.UNAVAILABLE, "; ".join(errors) or "no node to send an INQUIRY to")


def identify(fd: int, *, bsg: bool = False) -> frozenset[str]:
    """The strong names that the device behind a descriptor answers now."""
    try:
        page = _page(fd, FIRST_BYTES, bsg=bsg)
        wanted = 4 + int.from_bytes(page[2:4], "big")
        if len(page) >= 4 and len(page) < wanted <= MOST_BYTES:
            page = _page(fd, wanted, bsg=bsg)
        return designators(page)
    except NoDisk as error:
        hint = "the server maps something else there: correct the export or the mapping"
        raise Problem(Code.WRONG_DEVICE, f"INQUIRY page 0x83: {error}", hint=hint) from None
    except MalformedPage as error:
        raise Problem(Code.UNAVAILABLE, f"INQUIRY page 0x83: {error}") from None


def capacity(fd: int) -> int:
    """The size in bytes that the disk behind a descriptor of its sd node says now (SBC-4 5.21 READ CAPACITY (16))."""
    command = struct.pack(">BBQLBB", 0x9E, 0x10, 0, 32, 0, 0)
    answer = _repeated(lambda: _sg_io_v3(fd, command, 32))
    if len(answer) < 12:
        raise Problem(Code.UNAVAILABLE, f"READ CAPACITY: {len(answer)} bytes only")
    last, block = struct.unpack(">QL", answer[:12])
    return int(last + 1) * int(block)


def test_unit_ready(fd: int) -> Sense | None:
    """The sense that a disk answers to TEST UNIT READY (SPC-4 6.47) through its sd node; None where it is ready."""
    senses = (_test_unit_ready(fd) for _ in range(TRIES))
    last = None
    for last in senses:
        if last is None or last.key != UNIT_ATTENTION:
            break
    return last


def _test_unit_ready(fd: int) -> Sense | None:
    cdb, sense = ctypes.create_string_buffer(bytes(6), 6), ctypes.create_string_buffer(64)
    header = _SgIoV3(
        interface_id=ord("S"),
        dxfer_direction=-1,  # SG_DXFER_NONE
        cmd_len=6,
        mx_sb_len=len(sense),
        cmdp=ctypes.addressof(cdb),
        sbp=ctypes.addressof(sense),
        timeout=COMMAND_TIMEOUT_MS,
    )
    fcntl.ioctl(fd, SG_IO, header)
    return sense_of(bytes(sense)) if header.sb_len_wr else None


def sense_of(data: bytes) -> Sense:
    """The sense in fixed (SPC-4 4.5.3) or descriptor format (4.5.2)."""
    if data[0] & 0x7E == 0x72:
        return Sense(data[1] & 0xF, data[2], data[3])
    return Sense(data[2] & 0xF, data[12], data[13])


def _page(fd: int, size: int, *, bsg: bool) -> bytes:
    command = struct.pack(">BBBHB", 0x12, 1, DEVICE_IDENTIFICATION, size, 0)
    send = _sg_io_v4 if bsg else _sg_io_v3
    return _repeated(lambda: send(fd, command, size))


def _repeated(send: Callable[[], bytes]) -> bytes:
    """Send a command again for as long as it meets a unit attention; each is told once. Raises the last one."""
    for _ in range(TRIES - 1):
        try:
            return send()
        except UnitAttention:
            continue
    return send()


class _SgIoV3(ctypes.Structure):
    """struct sg_io_hdr (include/scsi/sg.h), for sd and sg nodes."""

    _fields_ = (
        ("interface_id", ctypes.c_int),
        ("dxfer_direction", ctypes.c_int),
        ("cmd_len", ctypes.c_ubyte),
        ("mx_sb_len", ctypes.c_ubyte),
        ("iovec_count", ctypes.c_ushort),
        ("dxfer_len", ctypes.c_uint),
        ("dxferp", ctypes.c_void_p),
        ("cmdp", ctypes.c_void_p),
        ("sbp", ctypes.c_void_p),
        ("timeout", ctypes.c_uint),
        ("flags", ctypes.c_uint),
        ("pack_id", ctypes.c_int),
        ("usr_ptr", ctypes.c_void_p),
        ("status", ctypes.c_ubyte),
        ("masked_status", ctypes.c_ubyte),
        ("msg_status", ctypes.c_ubyte),
        ("sb_len_wr", ctypes.c_ubyte),
        ("host_status", ctypes.c_ushort),
        ("driver_status", ctypes.c_ushort),
        ("resid", ctypes.c_int),
        ("duration", ctypes.c_uint),
        ("info", ctypes.c_uint),
    )


class _SgIoV4(ctypes.Structure):
    """struct sg_io_v4 (include/uapi/linux/bsg.h), for bsg nodes."""

    _fields_ = (
        ("guard", ctypes.c_int32),
        ("protocol", ctypes.c_uint32),
        ("subprotocol", ctypes.c_uint32),
        ("request_len", ctypes.c_uint32),
        ("request", ctypes.c_uint64),
        ("request_tag", ctypes.c_uint64),
        ("request_attr", ctypes.c_uint32),
        ("request_priority", ctypes.c_uint32),
        ("request_extra", ctypes.c_uint32),
        ("max_response_len", ctypes.c_uint32),
        ("response", ctypes.c_uint64),
        ("dout_iovec_count", ctypes.c_uint32),
        ("dout_xfer_len", ctypes.c_uint32),
        ("din_iovec_count", ctypes.c_uint32),
        ("din_xfer_len", ctypes.c_uint32),
        ("dout_xferp", ctypes.c_uint64),
        ("din_xferp", ctypes.c_uint64),
        ("timeout", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("usr_ptr", ctypes.c_uint64),
        ("spare_in", ctypes.c_uint32),
        ("driver_status", ctypes.c_uint32),
        ("transport_status", ctypes.c_uint32),
        ("device_status", ctypes.c_uint32),
        ("retry_delay", ctypes.c_uint32),
        ("info", ctypes.c_uint32),
        ("duration", ctypes.c_uint32),
        ("response_len", ctypes.c_uint32),
        ("din_resid", ctypes.c_int32),
        ("dout_resid", ctypes.c_int32),
        ("generated_tag", ctypes.c_uint64),
        ("spare_out", ctypes.c_uint32),
        ("padding", ctypes.c_uint32),
    )


def _sg_io_v3(fd: int, command: bytes, size: int) -> bytes:
    cdb, data, sense = ctypes.create_string_buffer(command, len(command)), *_buffers(size)
    header = _SgIoV3(
        interface_id=ord("S"),
        dxfer_direction=-3,  # SG_DXFER_FROM_DEV
        cmd_len=len(command),
        mx_sb_len=len(sense),
        dxfer_len=size,
        dxferp=ctypes.addressof(data),
        cmdp=ctypes.addressof(cdb),
        sbp=ctypes.addressof(sense),
        timeout=COMMAND_TIMEOUT_MS,
    )
    fcntl.ioctl(fd, SG_IO, header)
    _check((header.status, header.host_status, header.driver_status), bytes(sense))
    return data.raw[: size - header.resid]


def _sg_io_v4(fd: int, command: bytes, size: int) -> bytes:
    cdb, data, sense = ctypes.create_string_buffer(command, len(command)), *_buffers(size)
    header = _SgIoV4(
        guard=ord("Q"),
        request_len=len(command),
        request=ctypes.addressof(cdb),
        max_response_len=len(sense),
        response=ctypes.addressof(sense),
        din_xfer_len=size,
        din_xferp=ctypes.addressof(data),
        timeout=COMMAND_TIMEOUT_MS,
    )
    fcntl.ioctl(fd, SG_IO, header)
    _check((header.device_status, header.transport_status, header.driver_status), bytes(sense))
    return data.raw[: size - header.din_resid]


def _buffers(size: int) -> tuple[ctypes.Array[ctypes.c_char], ctypes.Array[ctypes.c_char]]:
    return ctypes.create_string_buffer(size), ctypes.create_string_buffer(64)


def _check(statuses: tuple[int, int, int], sense: bytes) -> None:
    """Raise for any status but GOOD of device, transport and driver (DRIVER_SENSE alone only says: see the sense)."""
    device, transport, driver = statuses
    if device == 0 and transport == 0 and driver in (0, 8):
        return
    said = sense_of(sense)
    kind = UnitAttention if device == CHECK_CONDITION and said.key == UNIT_ATTENTION else Problem
    raise kind(
        Code.UNAVAILABLE,
        f"a command failed: status {device:#x}, transport {transport:#x}, driver {driver:#x},"
        f" sense key {said.key:#x}, code {said.code:#x}, qualifier {said.qualifier:#x}",
        hint="see that this path works, and the kernel's log",
    )
