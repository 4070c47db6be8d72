"""The conductor in the guest: contenders take turns on the same LUNs; what was measured goes out as JSON lines.

stdin holds one score: {"runs", "contenders": {label: options}, "luns": [...], "acts": [{"case", "verb", "luns"}],
"dead": portal or null, "discard"}. A turn of a contender is all acts in order; a run is one turn of each.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.inside import scene, trace
from bench.inside.lun import Lun, lun_of

SERVICES = ("cdmi-attachd.service", "cdmi-attach-helperd.service")
PACKAGES = "/opt/os-brick"


class Player:
    """A contender's process, and what the kernel says it executes."""

    def __init__(self, label: str, options: Mapping[str, Any]) -> None:
        self.label, self.options = label, options
        module = f"bench.inside.{options['module']}"
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": PACKAGES},
        )
        self.ask(options)

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One line out, one line back."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.label} ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def family(self) -> set[int]:
        """The threads whose programs count: the daemon's and the helper's for ours."""
        own = trace.threads_below(self._process.pid)
        return own | trace.threads_of(SERVICES) if self.options["module"] == "ours" else own

    def end(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def main() -> None:
    """Play the score from stdin."""
    score = json.loads(sys.stdin.read())
    luns = {values["name"]: lun_of(values) for values in score["luns"]}
    trace.set_up()
    players = [Player(label, options) for label, options in score["contenders"].items()]
    for number in range(score["runs"] + score["discard"]):
        turn = number % len(players)
        for player in players[turn:] + players[:turn]:
            if number < player.options.get("runs", 1 << 30):
                _turn(player, score, luns, number)
    for player in players:
        player.end()


def _turn(player: Player, score: Mapping[str, Any], luns: Mapping[str, Lun], number: int) -> None:
    """One contender's turn: the scene, its acts, and nothing of it afterwards."""
    used = list(luns.values())
    scene.permit(used, this_host=player.options["module"] != "ours")
    if player.options.get("multipath"):
        scene.multipathd(on=True)
    if score["dead"]:
        scene.block(score["dead"], now=True)
    try:
        for act in score["acts"]:
            _act(player, act, [luns[name] for name in act["luns"]], number)
    finally:
        if score["dead"]:
            scene.block(score["dead"], now=False)
        if left := scene.left(used):
            print(json.dumps({"player": player.label, "run": number, "left": left}), flush=True)
            scene.forget(used)
        if player.options.get("multipath"):
            scene.multipathd(on=False)


def _act(player: Player, act: Mapping[str, Any], luns: Sequence[Lun], number: int) -> None:
    scene.quiet()
    request = {"verb": act["verb"], "luns": [_plain(lun, player.options) for lun in luns]}
    began = time.time()
    with trace.traced(player.family()) as executed:
        answer = player.ask(request)
    answer |= {"player": player.label, "case": act["case"], "run": number}
    answer |= {"programs": [program.what for program in executed], "ran": [asdict(program) for program in executed]}
    if player.options["module"] == "ours":
        answer |= {"steps": _steps(act["verb"], luns, began)}
    print(json.dumps(answer), flush=True)


def _plain(lun: Lun, options: Mapping[str, Any]) -> dict[str, Any]:
    """The LUN in JSON; with all its portals only for who is to know them."""
    portals = lun.portals if options.get("portals") == "all" else lun.portals[:1]
    names = ("name", "source", "target", "number", "wwid", "stamp", "export")
    return {name: getattr(lun, name) for name in names} | {"portals": portals}


def _steps(verb: str, luns: Sequence[Lun], began: float) -> list[dict[str, Any]]:
    """The steps of the attachment by its own word; of a detach, which leaves none, by the journal."""
    if verb == "attach":
        from bench.inside.ours import call

        steps: list[dict[str, Any]] = call("GET", luns[0].name).get("steps", [])
        return steps
    words = ("-o", "short-unix", "-q", "--no-hostname", f"--since=@{began:.3f}")
    said = scene.run("journalctl", *(word for unit in SERVICES[:1] for word in ("-u", unit)), *words)
    return [
        {"at_ms": round((float(line.split(" ", 1)[0]) - began) * 1e3), "what": line.split(": ", 2)[-1]}
        for line in said.splitlines()
        if line[:1].isdigit()
    ]


if __name__ == "__main__":
    main()
