"""One chaos run: a real operator with real nodes and a client at work, actors that break things by the seed, then rest.

The conductor judges nothing: it writes down what was done, and the auditor, a process that shares no code with the
operator, says what came of it.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.children import end, send, spawn
from tests.chaos.disk import Ballast, mount_small, unmount
from tests.chaos.killer import Killer
from tests.chaos.lookalikes import plant
from tests.chaos.place import Place, Record, append
from tests.chaos.profiles import PROFILES
from tests.chaos.repository import Repository
from tests.chaos.rest import Rest
from tests.chaos.stage import Stage
from tests.chaos.supervisor import Supervisor, keep_running
from tests.chaos.targets import Kind, find_targets
from tests.chaos.user import User, known_verbs

ROOT = Path(__file__).resolve().parents[2]
_KILLS_PER_MINUTE = 20
_OVERTIME = 1.4
"""A run may take so much longer when it has not killed, or not done, enough yet."""
_AUDIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Run:
    seed: int
    seconds: float
    heal_s: float
    nodes: int
    """Of the pool that works."""
    profile: str


class Conductor:
    def __init__(self, place: Place, run: Run) -> None:
        self._place = place
        self._run = run
        self._profile = PROFILES[run.profile]
        self._pools = self._profile.pools(run.nodes)
        self._stage = Stage()
        self._supervisor = Supervisor(place, self._random("supervisor"))
        self._workload: list[subprocess.Popen[bytes]] = []
        self._others: list[subprocess.Popen[bytes]] = []
        verbs = known_verbs()
        self._repository = Repository(place, self._pools, self._random("git"), holds_mass_deletion="approve" in verbs)
        self._user = User(place, self._pools, self._random("user"), verbs)
        self._killer: Killer | None = None

    def perform(self) -> Record:
        """The whole run, to the auditor's verdict. Nothing of it is left running, whatever happens."""
        try:
            self._set_up()
            auditor = self._start_auditor()
            self._play()
            return self._verdict(auditor)
        finally:
            self._tear_down()

    # --- the acts --------------------------------------------------------------------------------------------------

    def _set_up(self) -> None:
        place, run = self._place, self._run
        plan = {f"default/{pool.name}": {"most": pool.most, "stable": pool.stable} for pool in self._pools}
        append(place.actions, "begin", seed=run.seed, seconds=run.seconds, profile=run.profile, pools=plan)
        place.state.mkdir()
        ballast = self._small_disk() if self._profile.disk_share else None
        place.nodes.mkdir(mode=0o700)
        self._others += plant(place)
        self._repository.begin()
        self._killer = Killer(place, self._stage, self._random("kills"), self._own_processes, ballast, self._profile)

    def _small_disk(self) -> Ballast | None:
        problem = mount_small(self._place.state)
        if not problem:
            return Ballast(self._place.state)
        append(self._place.actions, "left out", fault="disk full", why=problem)
        print(f"left out: a full disk ({problem})", file=sys.stderr)
        return None

    def _play(self) -> None:
        assert self._killer is not None
        killer, run, stage = self._killer, self._run, self._stage
        stage.enter(self._supervisor.watch())
        rest = Rest(self._place, stage, self._pools, run.heal_s)
        if not stage.play(self._place.config.exists, run.heal_s):
            append(self._place.actions, "gave up", what="the operator did not start", after_s=run.heal_s, seen="")
            return
        stage.enter(keep_running(self._start_workload, self._workload))
        if self._profile.tasks_per_minute:
            stage.play(self._place.ledger.exists, run.heal_s)
        stage.enter(killer.act())
        if self._profile.has_people:
            stage.enter(self._repository.act())
            stage.enter(self._user.act())
        stage.play(lambda: False, run.seconds)
        stage.play(self._is_enough, run.seconds * (_OVERTIME - 1))
        self._quieten()
        if rest.heal() and rest.be_witnessed() and rest.finish_work(self._is_work_finished) and rest.empty():
            stage.clear()
            self._supervisor.stop()

    def _is_enough(self) -> bool:
        assert self._killer is not None
        minutes, ledger = self._run.seconds / 60, self._place.ledger
        executed = ledger.read_bytes().count(b"\n") if ledger.exists() else 0
        wanted = _KILLS_PER_MINUTE, self._profile.tasks_per_minute
        return self._killer.kills >= wanted[0] * minutes and executed >= wanted[1] * minutes

    def _quieten(self) -> None:
        """The faults are over: everyone leaves and undoes what is half done; only the supervisors come back."""
        self._stage.clear()
        self._place.quiet.touch()
        self._repository.settle(datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        append(self._place.actions, "quiet")
        self._stage.enter(self._supervisor.watch())
        self._stage.enter(keep_running(self._start_workload, self._workload))

    def _verdict(self, auditor: subprocess.Popen[bytes]) -> Record:
        append(self._place.actions, "end")
        output, _ = auditor.communicate(timeout=_AUDIT_S)
        if not output:
            raise RuntimeError(f"the auditor ended without a verdict: see {self._place.root / 'auditor.log'}")
        verdict: Record = json.loads(output.splitlines()[-1])
        return verdict

    def _tear_down(self) -> None:
        self._stage.clear()
        self._supervisor.end()
        if self._place.nodes.exists():
            _keep_evidence(self._place)
        for process in (*self._workload, *self._others):
            end(process)
        for _ in range(50):  # what is just being started may escape one look
            targets = find_targets(self._place.nodes)
            for target in targets:
                send(target.pid, target.started, signal.SIGKILL)
            if not targets:
                break
            time.sleep(0.05)
        unmount(self._place.state)

    # --- its processes ---------------------------------------------------------------------------------------------

    def _start_auditor(self) -> subprocess.Popen[bytes]:
        argv: list[str | Path] = [sys.executable, "-S", "-m", "tests.chaos.auditor", self._place.root]
        log = self._place.root / "auditor.log"
        auditor = spawn(argv, log=log, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._others.append(auditor)
        return auditor

    def _start_workload(self) -> subprocess.Popen[bytes]:
        argv: list[str | Path] = [sys.executable, "-m", "tests.chaos.workload", self._place.root, self._run.profile]
        return spawn(argv, log=self._place.root / "workload.log", cwd=ROOT)

    def _own_processes(self) -> list[tuple[Kind, int, bool]]:
        operator, serves = self._supervisor.pid, self._supervisor.serves()
        found = [] if operator is None else [(Kind.OPERATOR, operator, serves)]
        # A client without an operator only waits: it counts as up while the operator is.
        return found + [(Kind.WORKLOAD, process.pid, serves) for process in self._workload if process.poll() is None]

    def _is_work_finished(self) -> bool:
        return bool(self._workload) and self._workload[-1].poll() == 0

    def _random(self, name: str) -> random.Random:
        """Each actor has a stream of its own: what one of them does changes nothing for the others."""
        return random.Random(f"{self._run.seed}/{name}")


def _keep_evidence(place: Place) -> None:
    """Database and logs, out of a file system that goes with this process."""
    evidence = place.root / "evidence"
    evidence.mkdir(exist_ok=True)
    for file in (
        *place.state.glob("skyward.db*"),
        *place.nodes.glob("*/*.log"),
        *place.nodes.glob("*/home/.skyward/*.log"),
    ):
        name = "_".join(file.relative_to(place.state).parts)
        with contextlib.suppress(OSError):
            shutil.copy(file, evidence / name)
