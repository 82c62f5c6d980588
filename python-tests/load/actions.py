"""What is done to the service while it is under load. Each action returns a line about how it went
and raises AssertionError when the service did not do what it should."""

from __future__ import annotations

import os
import random
import signal
import time

from support.server import eventually

from load.clients import Results
from load.service import Service, alive


class Actions:
    def __init__(self, service: Service, results: Results, dice: random.Random):
        self.service, self.results, self.dice = service, results, dice
        self.kills: list[tuple[float, int]] = []
        service.answering = self.answering

    def answering(self, within: float = 1.0) -> list[int]:
        now = time.monotonic()
        return sorted(pid for pid, at in self.results.answered().items() if now - at < within and alive(pid))

    def hup(self) -> str:
        """A reload without a change: every worker is a new one afterwards."""
        before = set(self.answering(5))
        began = time.monotonic()
        self.service.signal(signal.SIGHUP)
        self._only_others_than(before)
        return f"all workers new after {time.monotonic() - began:.1f} s"

    def deploy(self) -> str:
        """New code and HUP: the new version answers, then only it."""
        version = self.service.deploy()
        began = time.monotonic()
        self.service.signal(signal.SIGHUP)
        self._only_version(version)
        return f"version {version} alone after {time.monotonic() - began:.1f} s"

    def broken(self) -> str:
        """A deploy that cannot be imported, and its repair: the old version serves in between."""
        good = self.service.version
        self.service.deploy(broken=True)
        self.service.signal(signal.SIGHUP)
        time.sleep(3)  # time for the service to fall down
        if not self.service.up:
            raise AssertionError("the master ended")
        moment = time.monotonic()
        eventually(lambda: self.results.since(moment), "an answer while the broken deploy lies there")
        if wrong := {o.version for o in self.results.since(moment)} - {good}:
            raise AssertionError(f"versions {wrong} answered instead of {good}")
        repaired = self.service.deploy()
        self.service.signal(signal.SIGHUP)
        self._only_version(repaired)
        return f"version {good} served on, then {repaired}"

    def ttin(self) -> str:
        self.service.signal(signal.SIGTTIN)
        time.sleep(0.5)
        return "one more"

    def ttou(self) -> str:
        self.service.signal(signal.SIGTTOU)
        time.sleep(0.5)
        return "one less"

    def scale(self) -> str:
        """A burst of both, ending where it began."""
        for number in (signal.SIGTTIN, signal.SIGTTIN, signal.SIGTTOU, signal.SIGTTIN, signal.SIGTTOU, signal.SIGTTOU):
            self.service.signal(number)
            time.sleep(self.dice.random() / 2)
        return "up and down again"

    def usr1(self) -> str:
        self.service.signal(signal.SIGUSR1)
        return "logs reopened"

    def usr2(self) -> str:
        """A new master beside the old one, which is then ended."""
        old, began = self.service.master, time.monotonic()
        self.service.upgrade()
        return f"master {old} gave way to {self.service.master} in {time.monotonic() - began:.1f} s"

    def kill(self) -> str:
        """SIGKILL for a worker that answered a moment ago."""
        victims = eventually(self.answering, "a worker that answers")
        victim = self.dice.choice(victims)
        os.kill(victim, signal.SIGKILL)
        moment = time.monotonic()
        self.kills.append((moment, victim))
        eventually(lambda: self.results.since(moment), "an answer after the kill")
        return f"worker {victim}"

    def _only_version(self, version: int) -> None:
        def alone():
            seen = [o.version for o in self.results.since(time.monotonic() - 0.7)]
            return len(seen) >= 3 and set(seen) == {version}

        eventually(alone, f"version {version} alone", 60)

    def _only_others_than(self, before: set[int]) -> None:
        def renewed():
            seen = [o.pid for o in self.results.since(time.monotonic() - 0.7)]
            return len(seen) >= 3 and not before & set(seen)

        eventually(renewed, "answers from new workers alone", 60)


#: The order is shuffled; a name may stand several times.
DEFAULT = ["hup"] * 4 + ["deploy"] * 3 + ["broken"] * 2 + ["ttin", "ttou", "scale", "usr1"] + ["usr2"] * 2 + ["kill"] * 4
