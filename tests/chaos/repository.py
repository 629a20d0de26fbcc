"""The actor that works on the manifests with Git, tidily and untidily. None of it ever asks for a stable pool to go."""

from __future__ import annotations

import os
import random
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.chaos.place import Place, append
from tests.chaos.pools import CHURN, PoolPlan
from tests.chaos.stage import Actor
from tests.chaos.supervisor import ABSENCE_S

_PAUSE_S = (1.0, 4.0)
_HALF_DONE_S = (0.5, 1.6 * ABSENCE_S)
"""How long a half-done state lies there: often longer than an absence takes to be believed."""
_BRIEF_S = (0.3, 0.5 * ABSENCE_S)
_IDENTITY = ("-c", "user.name=chaos", "-c", "user.email=chaos@localhost", "-c", "commit.gpgsign=false")
_NODES = re.compile(r"^  nodes: \d+$", re.MULTILINE)
_REVISION = re.compile(r"REVISION: '\d+'")


class Repository:
    def __init__(
        self, place: Place, pools: Sequence[PoolPlan], rng: random.Random, *, holds_mass_deletion: bool
    ) -> None:
        """`holds_mass_deletion`: this operator never deletes all pools at once, however long their files are away."""
        self._place = place
        self._directory = place.manifests
        self._pools = pools
        self._random = rng
        self._revision = 0
        self._away_s = _HALF_DONE_S if holds_mass_deletion else _BRIEF_S

    def begin(self) -> None:
        """A repository with a branch without pools, and the pools on `main`."""
        self._directory.mkdir()
        (self._directory / "README.md").write_text("Pools of the chaos run.\n")
        self._git("init", "--quiet", "--initial-branch=main")
        self._commit("begin")
        self._git("branch", "without-pools")
        for pool in self._pools:
            self._file(pool).write_text(pool.manifest(pool.nodes))
        self._commit("add pools")

    def settle(self, asked_at: str) -> None:
        """What is wanted in the end, committed."""
        self._commit("what the last actor left")
        for pool in self._pools:
            self._file(pool).write_text(pool.manifest(pool.nodes, self._revision, asked_at))
        self._commit("settle")

    def act(self) -> Actor:
        sequences: tuple[tuple[Callable[[], Actor], int], ...] = (
            (self._scale, 4),
            (self._roll, 3),
            (self._leave_for_a_branch_without_pools, 3),
            (self._rebase_into_a_conflict, 2),
            (self._leave_a_lock, 2),
            (self._move_the_directory_away, 2),
            (self._make_anew, 3),
            (self._break_a_file, 1),
        )
        while True:
            yield self._random.uniform(*_PAUSE_S)
            [sequence] = self._random.choices([s for s, _ in sequences], [weight for _, weight in sequences])
            append(self._place.actions, "git", step=sequence.__name__.strip("_").replace("_", " "))
            self._commit("what users changed through the API")
            yield from sequence()

    # --- sequences: each puts everything back, also when it is cut short ------------------------------------------

    def _scale(self) -> Actor:
        pool = self._random.choice([pool for pool in self._pools if pool.most > 1])
        self._edit(pool, _NODES, f"  nodes: {self._random.randint(1, pool.most)}")
        self._commit(f"scale {pool.name}")
        yield 0.0

    def _roll(self) -> Actor:
        self._revision += 1
        self._edit(self._random.choice(self._pools), _REVISION, f"REVISION: '{self._revision}'")
        self._commit("change a template")
        yield 0.0

    def _leave_for_a_branch_without_pools(self) -> Actor:
        try:
            self._git("checkout", "--quiet", "without-pools")
            yield self._random.uniform(*self._away_s)
        finally:
            self._git("checkout", "--quiet", "--force", "main")

    def _rebase_into_a_conflict(self) -> Actor:
        pool = self._pools[0]
        sizes = self._random.sample(range(1, pool.most + 1), 2)
        try:
            for branch, nodes in (("topic", sizes[0]), ("main", sizes[1])):
                self._git("checkout", "--quiet", *(("-B", branch, "main") if branch == "topic" else (branch,)))
                self._edit(pool, _NODES, f"  nodes: {nodes}")
                self._commit(f"scale on {branch}")
            self._git("checkout", "--quiet", "topic")
            self._git("rebase", "main", may_fail=True)
            yield self._random.uniform(*_HALF_DONE_S)
        finally:
            self._git("rebase", "--abort", may_fail=True)
            self._git("checkout", "--quiet", "--force", "main")
            self._git("branch", "-D", "topic", may_fail=True)

    def _leave_a_lock(self) -> Actor:
        """As `kill -9` of Git in the middle of a checkout does: some files are away already."""
        lock, file = self._directory / ".git" / "index.lock", self._file(self._pools[0])
        text = file.read_text()
        try:
            lock.touch()
            file.unlink()
            yield self._random.uniform(*_HALF_DONE_S)
        finally:
            file.write_text(text)
            lock.unlink()

    def _move_the_directory_away(self) -> Actor:
        away = self._directory.with_name("manifests away")
        try:
            self._directory.rename(away)
            yield self._random.uniform(*_HALF_DONE_S)
        finally:
            away.rename(self._directory)

    def _make_anew(self) -> Actor:
        """Delete the pool that may go, and make it again at once, during its end, or after it."""
        pool = next(pool for pool in self._pools if pool.name == CHURN)
        self._file(pool).unlink(missing_ok=True)
        self._commit(f"delete {CHURN}")
        yield self._random.choice((0.5, ABSENCE_S + 1.0, 2.5 * ABSENCE_S))
        self._file(pool).write_text(pool.manifest(pool.nodes, self._revision))
        self._commit(f"add {CHURN}")

    def _break_a_file(self) -> Actor:
        file = self._file(self._pools[0])
        text = file.read_text()
        try:
            file.write_text(text[: self._random.randrange(len(text))] + "\t: [")
            yield self._random.uniform(*_HALF_DONE_S)
        finally:
            file.write_text(text)

    # --- the repository --------------------------------------------------------------------------------------------

    def _file(self, pool: PoolPlan) -> Path:
        return self._directory / f"{pool.name}.yaml"

    def _edit(self, pool: PoolPlan, pattern: re.Pattern[str], new: str) -> None:
        """A pool that a user deleted is not there to be edited."""
        file = self._file(pool)
        if file.exists():
            file.write_text(pattern.sub(new, file.read_text()))

    def _commit(self, message: str) -> None:
        # The operator may rename an edited manifest into place under Git's eyes; a second look then succeeds.
        self._git("add", "--all", may_fail=True)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--allow-empty", "--message", message)

    def _git(self, *words: str, may_fail: bool = False) -> None:
        done = subprocess.run(
            ["git", *_IDENTITY, *words],
            cwd=self._directory,
            env=os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "GIT_EDITOR": "true"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0 and not may_fail:
            raise RuntimeError(f"git {' '.join(words)} failed: {done.stderr.strip()}")
