"""The words of the command line as a table: argparse, the quick reader, the completion are all made of it.

Plain classes and no `typing`: each module that is loaded before the answer is there costs a part of the start-up time.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

SOCKET = "/run/cdmi-attach/control.sock"


class Word:
    """An option (it begins with -) or an argument: argparse's keywords for it, and what a shell completes it with.

    `completes` is "attachment", "file", "domain" or empty.
    """

    __slots__ = ("completes", "keywords", "name")

    def __init__(self, name: str, *, completes: str = "", **keywords: "Any") -> None:
        self.name = name
        self.keywords = keywords
        self.completes = completes

    @property
    def dest(self) -> str:
        """The attribute that holds its value."""
        return self.name.lstrip("-").replace("-", "_")


class Verb:
    """A verb: what it does, and its words."""

    __slots__ = ("about", "words")

    def __init__(self, about: str, *words: Word) -> None:
        self.about = about
        self.words = words


class Words:
    """What a command line says: one attribute for each word, and `verb`."""

    verb: str
    socket: str
    json: bool

    def __init__(self, **values: "Any") -> None:
        self.__dict__.update(values)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


COMMON = (
    Word("--socket", metavar="PATH", default=SOCKET, completes="file", help=f"the daemon's socket ({SOCKET})"),
    Word("--json", action="store_true", help="print the daemon's answer as it is"),
)

GENERATION = Word(
    "--generation", type=int, metavar="N", help="refused (exit 5) where a request with a higher number was seen"
)
YES = Word("--yes", action="store_true", help="do not ask on a terminal")
METADATA = Word(
    "--metadata", action="append", metavar="KEY=VALUE", help="an item that it has from its beginning; may be repeated"
)
EVEN_IF = Word(
    "--even-if-permitted-to-others", action="store_true", help="go on although other hosts are permitted to use it"
)

VERBS = {
    "attach": Verb(
        "make an attachment; prints its link",
        Word("source", metavar="SOURCE", help="cdmi://HOST/cdmi_objectid/ID, or a URL of a configured server"),
        Word("--name", required=True, metavar="NAME", help="what the attachment is called"),
        Word("--ro", action="store_true", help="read-only"),
        Word("--share", action="store_true", help="the same object may be attached here once more, for writing"),
        GENERATION,
        Word(
            "--lease",
            type=float,
            metavar="S",
            help="for a while: it is detached after so many seconds, unless it is confirmed, or in use",
        ),
        Word("--protocol", action="append", metavar="P", help="in order of preference; may be repeated"),
        Word("--file", action="store_true", help="hand out the file itself, not a block device (NFS)"),
        Word("--min-paths", type=int, metavar="N", help="wait for so many paths (1); the rest joins by itself"),
        Word(
            "--domain", metavar="D", completes="domain", help="hand it to this running libvirt domain; needs --target"
        ),
        Word("--target", metavar="DEV", help="the disk's place in the domain, such as sda"),
        Word("--timeout", type=float, metavar="S", help="give up after so many seconds"),
    ),
    "confirm": Verb(
        "keep what was attached for a while (--lease), until it is detached",
        Word("name", metavar="NAME", completes="attachment"),
        GENERATION,
    ),
    "detach": Verb(
        "undo an attachment",
        Word("name", metavar="NAME", completes="attachment"),
        Word("--must-exist", action="store_true", help="fail where there is none (exit 4), and say so else"),
        GENERATION,
        Word(
            "--force",
            action="store_true",
            help="the loss of what cannot be written out is known: give it up, and note that",
        ),
    ),
    "status": Verb(
        "show the attachments, or one with its steps",
        Word("name", metavar="NAME", nargs="?", completes="attachment"),
        Word("--vm", metavar="ID", help="all disks of this virtual machine: what is called one-ID-..."),
        Word("--watch", action="store_true", help="show them again whenever they change"),
        Word(
            "--svg",
            metavar="FILE",
            nargs="?",
            const="-",
            completes="file",
            help="write when each step of NAME ran, as a picture, to FILE (or standard output)",
        ),
    ),
    "events": Verb(
        "show steps as they happen",
        Word("name", metavar="NAME", nargs="?", completes="attachment"),
        Word("--since", type=int, default=0, metavar="SEQ", help="only what came after the event of this number"),
        Word("--no-follow", action="store_true", help="end after those that are there already"),
    ),
    "resize": Verb(
        "read the size of an attachment's disk again, and tell the domains that have it",
        Word("name", metavar="NAME", completes="attachment"),
    ),
    "resolve": Verb(
        "explain what a source is; changes nothing", Word("source", metavar="SOURCE", help="as that of attach")
    ),
    "stat": Verb(
        "show an object: kind, size, format, hash, times", Word("source", metavar="SOURCE", help="as that of attach")
    ),
    "set-metadata": Verb(
        "set items of an object's metadata, or take them away; all others stay",
        Word("source", metavar="SOURCE", help="as that of attach"),
        Word("item", metavar="KEY=VALUE", nargs="*", help="what is set"),
        Word("--remove", action="append", metavar="KEY", help="what is taken away; may be repeated"),
    ),
    "cat": Verb(
        "read an object's bytes: to standard output, or whole and proved into a file",
        Word("source", metavar="SOURCE", help="as that of attach"),
        Word("-o", metavar="FILE", completes="file", help="write to this file, with holes; take up what broke off"),
    ),
    "put": Verb(
        "write a file, a device or standard input (-) into an object; prints the object's address",
        Word("file", metavar="FILE", completes="file", help="what is read; - is standard input"),
        Word("destination", metavar="DESTINATION", help="a path on a server; the object is made where there is none"),
        Word("--replace", action="store_true", help="replace what is there already"),
        EVEN_IF,
    ),
    "clone": Verb(
        "copy an object on its server; prints the copy's address",
        Word("source", metavar="SOURCE", help="as that of attach"),
        Word("destination", metavar="DESTINATION", help="a path on the same server, where nothing is"),
        Word("--size", type=int, metavar="BYTES", help="of the copy; not less than the source's"),
        METADATA,
        Word("--timeout", type=float, metavar="S", help="wait no longer than so many seconds (3600)"),
    ),
    "snapshot": Verb(
        "take a snapshot of a container on its server; prints its address",
        Word("source", metavar="SOURCE", help="as that of attach"),
        Word("name", metavar="NAME", help="what the snapshot is called"),
        Word("--timeout", type=float, metavar="S", help="wait no longer than so many seconds (3600)"),
    ),
    "restore": Verb(
        "bring a container back to a snapshot of it on its server; nobody may be using it",
        Word("source", metavar="SOURCE", help="as that of attach"),
        Word("name", metavar="NAME", help="what the snapshot is called"),
        Word("--timeout", type=float, metavar="S", help="wait no longer than so many seconds (3600)"),
        YES,
        EVEN_IF,
    ),
    "create": Verb(
        "make a LUN, a container or a data object on a server; prints its address",
        Word("destination", metavar="DESTINATION", help="a path on a server, where nothing is"),
        Word("--size", type=int, metavar="BYTES", help="of the LUN, or of the data object, which is full of zeros"),
        Word("--kind", choices=("container", "dataobject"), default="container", help="container: a LUN, with a size"),
        METADATA,
        Word("--timeout", type=float, metavar="S", help="wait no longer than so many seconds (3600)"),
    ),
    "move": Verb(
        "move an object on its server, unless it is in use; prints its address",
        Word("source", metavar="SOURCE", help="as that of attach"),
        Word("destination", metavar="DESTINATION", help="a path on the same server, where nothing is"),
        Word("--timeout", type=float, metavar="S", help="wait no longer than so many seconds (3600)"),
        EVEN_IF,
    ),
    "set-size": Verb(
        "give an object another size on its server; prints the size",
        Word("source", metavar="SOURCE", help="as that of attach"),
        Word("size", type=int, metavar="BYTES", help="its size from now on"),
        Word("--shrink", action="store_true", help="it may become smaller: what is beyond is lost"),
        YES,
        EVEN_IF,
    ),
    "fence": Verb(
        "withdraw another host's permissions on an object, as after its death",
        Word("source", metavar="SOURCE", help="as that of attach"),
        Word("host", metavar="HOST", nargs="+", help="its iSCSI initiator name, or the names of its FC ports"),
        Word("--must-exist", action="store_true", help="fail where no export lets that host in (exit 4)"),
        YES,
    ),
    "capacity": Verb(
        "how much is used, free and there in all behind a container",
        Word("source", metavar="SOURCE", help="a container, as the source of attach"),
    ),
    "delete": Verb(
        "delete an object on its server, unless it is in use",
        Word("source", metavar="SOURCE", help="as that of attach"),
        Word("--must-exist", action="store_true", help="fail where there is none (exit 4), and say so else"),
        Word("--with-snapshots", action="store_true", help="its snapshots go with it"),
        YES,
        EVEN_IF,
    ),
    "leftovers": Verb(
        "list what was made on this host and nobody asks for any more, and what others left; or take it away",
        Word("item", metavar="ITEM", nargs="?", help="with --clean: this one alone"),
        Word("--clean", action="store_true", help="take away what was made here, is proved, and is open by nobody"),
    ),
    "host": Verb("what this host is and can do"),
    "doctor": Verb(
        "what an attach would miss on this host, and the command that mends it",
        Word("check", metavar="CHECK", nargs="*", help="only these checks (all: cdmi-attach doctor --json)"),
    ),
    "completion": Verb(
        "print the completion for a shell: source <(cdmi-attach completion bash)",
        Word("shell", metavar="SHELL", choices=("bash",), help="bash"),
    ),
}


def quick(argv: "Sequence[str]") -> Words | None:
    """The words of a plainly written command line; None where argparse has to look at it: help, mistakes, short cuts.

    A test holds the two together. argparse alone takes as long to load as the interpreter.
    """
    at = next((index for index, word in enumerate(argv) if not word.startswith("-")), len(argv))
    if at > 0 and argv[at - 1] == "--socket":  # its value is no verb
        at = next((index for index in range(at + 1, len(argv)) if not argv[index].startswith("-")), len(argv))
    verb = VERBS.get(argv[at]) if at < len(argv) else None
    if verb is None:
        return None
    values = {word.dest: _default(word) for word in (*COMMON, *verb.words)}
    given = set[str]()
    if not (_read(argv[:at], COMMON, values, given) and _read(argv[at + 1 :], (*verb.words, *COMMON), values, given)):
        return None
    for word in verb.words:
        needed = word.keywords.get("required", not word.name.startswith("-"))
        needed = needed and word.keywords.get("nargs", "+") == "+"
        if needed and word.dest not in given:
            return None
    return Words(verb=argv[at], **values)


def _default(word: Word) -> "Any":
    if word.keywords.get("nargs") == "*":
        return []
    return word.keywords.get("default", False if word.keywords.get("action") == "store_true" else None)


def _read(argv: "Sequence[str]", words: "Sequence[Word]", values: "dict[str, Any]", given: set[str]) -> bool:
    """Take the words of one half of the line, before or after the verb; False where something is not plain."""
    rest = [word for word in words if not word.name.startswith("-")]
    options = {word.name: word for word in words if word.name.startswith("-")}
    left = iter(argv)
    for text in left:
        word = options.get(text) if text.startswith("-") else rest.pop(0) if rest else None
        if word is None:
            return False
        given.add(word.dest)
        if word.keywords.get("action") == "store_true":
            values[word.dest] = True
            continue
        value = next(left, "-") if word.name.startswith("-") else text
        if value.startswith("-") or not _take(word, value, values):
            return False
    return True


def _take(word: Word, text: str, values: "dict[str, Any]") -> bool:
    if word.keywords.get("nargs") in ("*", "+") or text not in word.keywords.get("choices", (text,)):
        return False
    try:
        value = word.keywords.get("type", str)(text)
    except ValueError:
        return False
    values[word.dest] = [*(values[word.dest] or ()), value] if word.keywords.get("action") == "append" else value
    return True
