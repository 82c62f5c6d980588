"""Holds constant load on a server while its processes are reloaded, scaled, upgraded, killed and
given broken deploys, in random order; counts every request that failed.

    python python-tests/load                                        # the last build of rwsgi, a minute
    python python-tests/load --seconds 600 --seed 7
    python python-tests/load --actions hup,kill,kill -- gunicorn --workers 4 --threads 4

Expected of rwsgi: no failure but the requests that were inside a worker when it was killed by
SIGKILL; those are listed one by one. The seed that is printed repeats the order of actions.
"""

from __future__ import annotations

import argparse
import random
import shlex
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path = [p for p in sys.path if Path(p or ".").resolve() != Path(__file__).resolve().parent]

from support.server import server_command  # noqa: E402

from load.actions import DEFAULT, Actions  # noqa: E402
from load.clients import Outcome, Results, crowd  # noqa: E402
from load.service import Service, adopt_orphans  # noqa: E402

#: Failures told one by one; a service that is down for a second fails hundreds alike.
SHOWN = 60


def main() -> int:
    parser = argparse.ArgumentParser(prog="load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--actions", default=",".join(DEFAULT), help="names, separated by commas; shuffled, repeated while there is time")
    parser.add_argument("server", nargs="*", help="the server's command line, after --")
    options = parser.parse_args()
    command = options.server or [*server_command(), "--workers", "4", "--max-requests", "50", "--max-requests-jitter", "20"]
    print(f"seed {options.seed}: {shlex.join(command)}", flush=True)
    adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="load-") as directory:
        return run(options, command, Path(directory))


def run(options, command: list[str], directory: Path) -> int:
    dice = random.Random(options.seed)
    service, results = Service(command, directory), Results()
    actions = Actions(service, results, dice)
    clients = crowd(service.address, results)
    began = time.monotonic()
    for client in clients:
        client.start()
    complaints = []
    try:
        time.sleep(2)
        while time.monotonic() < began + options.seconds:
            complaints += one_round(options.actions.split(","), actions, service, dice, began, began + options.seconds)
    finally:
        for client in clients:
            client.over.set()
        for client in clients:
            client.join(60)
        # The load is over before the service is: what is stopped now has nothing left to lose.
        if wrong := service.stop():
            complaints.append(f"at the end: {wrong}")
    return report(results, actions, service, complaints)


def one_round(names: list[str], actions: Actions, service: Service, dice: random.Random, began: float, until: float) -> list[str]:
    """All actions in a new order, until the time is up; what went wrong."""
    complaints = []
    for name in dice.sample(names, len(names)):
        if time.monotonic() > until:
            break
        at = time.monotonic() - began
        try:
            said = getattr(actions, name)()
        except (AssertionError, ProcessLookupError) as error:
            said = f"FAILED: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
            complaints.append(f"{at:.1f} s, {name}: {said}")
        print(f"{at:7.1f} s  {name:7} {said}", flush=True)
        if not service.up:
            complaints.append(f"{at:.1f} s, {name}: the service was down and had to be started again")
            print(f"{at:7.1f} s  the service is down: started again", flush=True)
            service.deploy()
            service.start()
        time.sleep(dice.random() * 1.5)
    return complaints


def excuse(outcome: Outcome, kills: list[tuple[float, int]], entered: dict[str, int]) -> str | None:
    """Why a failure is the price of a SIGKILL, if it is: the worker that held the request is known from
    the journal, or from earlier answers on the connection, or the request met it before it entered."""
    for at, pid in kills:
        if outcome.ended < at:
            continue
        if outcome.key not in entered and outcome.peer == pid:
            # Also when it was idle then: the connection died with its worker.
            return f"was on a connection of worker {pid} when it was killed"
        if outcome.started > at + 0.05:
            continue
        if entered.get(outcome.key) == pid:
            return f"was inside worker {pid} when it was killed"
        if outcome.key not in entered and outcome.peer is None and outcome.ended - at < 0.5:
            return f"was accepted, but not begun, when worker {pid} was killed"
    return None


def report(results: Results, actions: Actions, service: Service, complaints: list[str]) -> int:
    entered = service.entered()
    failed = [o for o in results.outcomes if o.error]
    excused = {o.key: why for o in failed if (why := excuse(o, actions.kills, entered))}
    print(f"\n{'kind':12} {'requests':>9} {'failed':>7} {'excused':>8} {'median':>9} {'99 %':>9} {'worst':>9}")
    for kind in sorted({o.kind for o in results.outcomes}):
        of_kind = [o for o in results.outcomes if o.kind == kind]
        bad = [o for o in of_kind if o.error and o.key not in excused]
        times = sorted(o.ended - o.started for o in of_kind if not o.error) or [0.0]
        median, late, worst = times[len(times) // 2], times[min(len(times) - 1, len(times) * 99 // 100)], times[-1]
        print(f"{kind:12} {len(of_kind):9} {len(bad):7} {sum(o.key in excused for o in of_kind):8} "
              f"{median * 1000:6.0f} ms {late * 1000:6.0f} ms {worst * 1000:6.0f} ms")
    for outcome in (o for o in failed if o.key in excused):
        print(f"excused {outcome.key}: {outcome.error} ({excused[outcome.key]})")
    lost = [o for o in failed if o.key not in excused]
    for outcome in lost[:SHOWN]:
        print(f"FAILED  {outcome.key}: {outcome.error}")
    if len(lost) > SHOWN:
        print(f"FAILED  ... and {len(lost) - SHOWN} more")
    for complaint in complaints:
        print(f"WRONG   {complaint}")
    print(f"{len(results.outcomes)} requests, {len(lost)} failed, {len(excused)} lost in {len(actions.kills)} killed workers, "
          f"{len(complaints)} actions went wrong")
    return 1 if lost or complaints else 0


if __name__ == "__main__":
    sys.exit(main())
