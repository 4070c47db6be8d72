"""What an image's first bytes say that it is: a hint for people, never the reason to open it as that. Pure."""

HEAD_BYTES = 64 << 10
_MAGIC = (
    (0, b"QFI\xfb", "qcow2"),
    (0, b"KDMV", "vmdk"),
    (0, b"# Disk DescriptorFile", "vmdk"),
    (0, b"COWD", "vmdk"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"conectix", "vpc"),
    (64, b"\x7f\x10\xda\xbe", "vdi"),
    (0, b"QED\0", "qed"),
    (0, b"LUKS\xba\xbe", "luks"),
    (32769, b"CD001", "iso"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\xfd7zXZ\0", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (0, b"BZh", "bzip2"),
)


def format_of(head: bytes) -> str:
    """The format's name as qemu-img has it; `raw` where nothing else is recognised."""
    return next((name for at, magic, name in _MAGIC if head[at : at + len(magic)] == magic), "raw")
