"""The second half of `make soak`: an attachment over Fibre Channel asked for, and made and taken back, 200 times."""

import argparse
import sys

from tests.lab import fleet
from tests.lab.cache import open_cache
from tests.lab.execs import traced
from tests.lab.fc_scene import Fibre
from tests.lab.stage import SERVICES, Stage


def main() -> int:
    """Bring up a guest with two fabrics. Returns 0 when nothing was left, and no process made."""
    parser = argparse.ArgumentParser(prog="soak_fc", description=__doc__)
    parser.add_argument("--cycles", type=int, default=200)
    times = parser.parse_args().cycles
    cache = open_cache()
    fibre = Fibre(Stage(fleet.up(cache, "soak", "bookworm")))
    try:
        fibre.set(config='protocols = ["fc"]\nmultipath = "never"')
        before, lun = fibre.inventory(), fibre.make_lun("soak")
        with traced(fibre.guest, *SERVICES) as executed:
            fibre.stage.attach("soak", lun.source)
            answers = fibre.ask_again("soak", lun.source, times=times)
            fibre.stage.detach("soak")
            answers += fibre.come_and_go("soak", lun.source, times=times)
        wrong = [answer for answer in answers if answer not in ("200", "201", "204")]
        left = sorted({*fibre.inventory().splitlines()} - {*before.splitlines()})
        permissions = fibre.export("soak")["permissions"]
        print(f"{times} times: {len(answers)} answers; wrong: {wrong}; processes: {executed.programs}; left: {left}")
        return 1 if wrong or executed.programs or left or permissions else 0
    finally:
        fleet.down(cache, "soak")


if __name__ == "__main__":
    sys.exit(main())
