"""Planted bugs of OpenNebula's drivers: each has the few tests of its own that have to find it."""

from tests.engine.mutant import Mutant

LIB = "opennebula/lib/cdmi_one"
DELETE = ("tests/opennebula/test_delete.py",)
SIZES = ("tests/opennebula/test_sizes.py",)
MOVES = ("tests/opennebula/test_moves.py", "tests/opennebula/test_migrate.py")

OF_DRIVERS = (
    Mutant(
        "drop-ins that cannot be looked for are passed over",
        "agent/config_files.py",
        "    except FileNotFoundError:",
        "    except OSError:",
        suite=("tests/unit/test_config.py",),
    ),
    Mutant(
        "a host's devices are not given to who runs QEMU",
        f"{LIB}/setup/node.py",
        """f'[attach]\\ndevice_owner = "{owner}"'""",
        '"[attach]"',
        suite=("tests/opennebula/test_install.py",),
    ),
    Mutant(
        "DELETE believes oned alone",
        f"{LIB}/deleting.py",
        "    if not is_ours(found, copy):",
        "    if not found.object_id:",
        suite=("tests/opennebula/test_deploy.py",),
    ),
    Mutant(
        "DELETE takes what is persistent for a copy",
        f"{LIB}/releasing.py",
        "    if not disk.is_clone:",
        "    if not disk.is_clone and disk.read_only:",
        suite=DELETE,
    ),
    Mutant(
        "a VM that is DONE already is not cleaned up at the host before",
        f"{LIB}/releasing.py",
        "    if known.is_done or known.lcm_state in CLEANUP:",
        "    if known.lcm_state in CLEANUP:",
        suite=DELETE,
    ),
    Mutant(
        "a VM that is powered off is taken for one that is DONE",
        f"{LIB}/vm.py",
        """_number(root, "STATE") == DONE""",
        """_number(root, "LCM_STATE") == 0""",
        suite=DELETE,
    ),
    Mutant(
        "a link goes before its disk is let go",
        f"{LIB}/releasing.py",
        "[commands.detach(name, order), commands.unlink(place)]",
        "[commands.unlink(place), commands.detach(name, order)]",
        suite=DELETE,
    ),
    Mutant(
        "a move attaches before it is free at the source",
        f"{LIB}/moving.py",
        """\
        try:
            run(source.host, [commands.detach(name, order)])""",
        """\
        try:
            run(source.host, ["true"])""",
        suite=MOVES,
    ),
    Mutant(
        "a lost host is not withdrawn",
        f"{LIB}/moving.py",
        "    if disk.read_only:\n        return",
        "    if disk.size_mb:\n        return",
        suite=MOVES,
    ),
    Mutant(
        "what is attached for a migration stays for good",
        f"{LIB}/migrating.py",
        "order, lease_s=settings.lease_s)",
        "order, lease_s=0)",
        suite=MOVES,
    ),
    Mutant(
        "a script's number is not said",
        f"{LIB}/commands.py",
        'return cdmi("detach", name, "--generation", number)',
        'return cdmi("detach", name)',
        suite=("tests/opennebula/test_deploy.py",),
    ),
    Mutant(
        "a path that looks like an allowed one",
        f"{LIB}/allowed.py",
        "inner[: len(above)] == above",
        '"/".join(inner).startswith("/".join(above))',
        suite=("tests/opennebula/test_datastore.py",),
    ),
    Mutant(
        "nobody could be asked, so that the image is gone",
        f"{LIB}/allowed.py",
        "    return found_in(through(HERE, settings, [looked]))",
        """\
    try:
        return found_in(through(HERE, settings, [looked]))
    except Failure:
        return None""",
        suite=("tests/opennebula/test_datastore.py",),
    ),
    Mutant(
        "a snapshot that is there already is taken for the new one",
        f"{LIB}/snapshots.py",
        """\
        commands.delete(snapshot_of(source, name)),
        commands.patiently""",
        """\
        commands.patiently""",
        suite=("tests/opennebula/test_snapshots.py",),
    ),
    Mutant(
        "a delete that goes on has failed",
        f"{LIB}/commands.py",
        "times=MINUTES)",
        'times="1")',
        suite=DELETE,
    ),
    Mutant(
        "what has begun at one host is begun at another as well",
        f"{LIB}/hosts.py",
        "not in ELSEWHERE or failure.printed.startswith(BEGUN):",
        "not in ELSEWHERE:",
        suite=SIZES,
    ),
    Mutant(
        "a copy that is still being made is an image",
        f"{LIB}/copying.py",
        "    if found.pending:",
        "    if found.reference:",
        suite=SIZES,
    ),
    Mutant(
        "an object is two images",
        f"{LIB}/allowed.py",
        "    if image and found.metadata.get(",
        "    if not image and found.metadata.get(",
        suite=("tests/opennebula/test_datastore.py",),
    ),
    Mutant(
        "a host that does not answer is lost",
        f"{LIB}/moving.py",
        "            if failure.status != UNREACHABLE or not _is_lost(source.host):",
        "            if failure.status != UNREACHABLE:",
        suite=MOVES,
    ),
    Mutant(
        "what a server calls things is told as it is",
        f"{LIB}/failure.py",
        """    return "".join(one if " " <= one <= "~" else _escaped(one) for one in " ".join(text.split()))""",
        """    return " ".join(text.split())""",
        suite=("tests/unit/test_cdmi_one.py",),
    ),
    Mutant(
        "a VM that goes to another system datastore leaves its links behind",
        f"{LIB}/migrating.py",
        """        run(words[1], _linked(vm, place_of(f"{words[1]}:{words[2]}"), order))
""",
        "",
        suite=MOVES,
    ),
    Mutant(
        "the source that MKFS tells has a format behind it",
        f"{LIB}/datastore.py",
        """        print(new)
""",
        """        print(f"{new} raw")
""",
        suite=("tests/opennebula/test_datastore.py",),
    ),
    Mutant(
        "a DELETE that was given up ends where nobody hears it",
        f"{LIB}/deleting.py",
        "    with suppress(OSError):",
        "    with suppress(ValueError):",
        suite=DELETE,
    ),
    Mutant(
        "a connection that ssh keeps holds up its script",
        f"{LIB}/remote.py",
        "                stderr=said,",
        "                stderr=subprocess.PIPE,",
        suite=("tests/opennebula/test_deploy.py",),
    ),
)
