"""`make pictures`: docs/screens/*.svg, drawn from a real daemon in the lab guest after real attaches."""

import sys
from pathlib import Path

from tests.lab import fleet
from tests.lab.cache import open_cache
from tests.lab.stage import Stage

ROOT = Path(__file__).resolve().parents[1]
INSIDE = "/opt/cdmi-attach"


def main() -> int:
    """Set the scene, attach, draw, and bring the pictures home. Returns the exit status."""
    cache = open_cache()
    guest = fleet.up(cache, "pictures", "bookworm")
    try:
        stage = Stage(guest).set()
        stage.start_domain("one-42")
        stage.attach("one-42-0", stage.make_lun("vol-a").source, "--domain", "one-42", "--target", "sda")
        stage.attach("one-43-0", stage.make_lun("vol-b", target="shared").source)
        stage.attach("one-43-1", stage.make_lun("vol-c", target="shared").source, "--ro")
        guest.push(ROOT / "docs" / "make-pictures", f"{INSIDE}/docs/")
        draw = "python3 docs/make-pictures --name one-42-0 --command cdmi-attach --to screens"
        print(guest.run(f"cd {INSIDE} && mkdir -p screens && {draw}").stdout, end="")
        guest.pull(f"{INSIDE}/screens", ROOT / "docs" / "screens")
    finally:
        fleet.down(cache, "pictures")
    return 0


if __name__ == "__main__":
    sys.exit(main())
