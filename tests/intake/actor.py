"""People and their tools at work in a manifest directory in memory: edits, checkouts that take time or stop halfway,
directories that vanish, watchers that die. It knows what the files are meant to say, and when they say nothing that counts."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random

from skyward.contracts import Clock
from tests.intake.files import MemoryFiles, Watching
from tests.intake.world import manifest

MARKER = ".skyward-source"
_NODES = (0, 1, 2, 3, 5, 8)


class DirectoryActor:
    """Deterministic from its seed. `tree` is what the newest finished change declares: pools by name, with their nodes."""

    def __init__(
        self,
        files: MemoryFiles,
        clock: Clock,
        rng: Random,
        *,
        root: str,
        names: Sequence[str],
        render: Callable[[str, int], str] = manifest,
    ) -> None:
        self.tree: dict[str, int] = {}
        self.is_clean = True
        """The files say what is meant, and everything that proves it is in its place."""
        self.is_readable = True
        self.acts: list[str] = []
        """What was done, for the story of a failure."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when `tree` or `is_clean` has a new value."""
        self._files = files
        self._clock = clock
        self._rng = rng
        self._root = root
        self._names = names
        self._render = render
        self._paths: dict[str, str] = {}

    async def act(self) -> None:
        """One thing that happens, from its beginning to its end."""
        acts: Sequence[Callable[[], Awaitable[None]]] = (
            self.edit,
            self.edit,
            self.rename,
            self.checkout,
            self.killed_checkout,
            self.conflict,
            self.outage,
            self.unmount,
            self.flip,
            self.lose_marker,
            self.tire_watcher,
        )
        act = self._rng.choice(acts)
        self.acts.append(f"{self._clock.monotonic():.1f} {act.__name__} {self.tree}")
        await act()

    def settle(self, tree: Mapping[str, int]) -> None:
        """Everything is finished, and the files say this."""
        self._files.watching = Watching.ALIVE
        self._lay(tree)
        self._mean(tree)

    def took(self, tree: Mapping[str, int]) -> None:
        """The operator changed the files for a user, to say this."""
        self._mean(tree)

    def path(self, name: str) -> str:
        return f"{self._root}/{self._paths.get(name, f'{name}.yaml')}"

    # --- what people do ---

    async def edit(self) -> None:
        """One file is saved in two halves, or removed."""
        name = self._rng.choice(self._names)
        nodes = self._rng.choice((None, *_NODES))
        if nodes is None:
            self._files.take_away(self.path(name))
            self._mean({key: value for key, value in self.tree.items() if key != name})
            return
        self._taint()
        text = self._render(name, nodes)
        self._files.put(self.path(name), text[: self._rng.randrange(len(text))])
        await self._clock.sleep(self._rng.choice((0.001, 0.01)))
        self._files.put(self.path(name), text)
        self._mean({**self.tree, name: nodes})

    async def rename(self) -> None:
        if not self.tree:
            return
        name = self._rng.choice(sorted(self.tree))
        self._files.take_away(self.path(name))
        self._paths[name] = f"{self._rng.choice(('', 'team/', 'x/y/'))}{name}.{self._rng.choice(('yaml', 'yml'))}"
        self._files.put(self.path(name), self._render(name, self.tree[name]))
        self.on_change()

    async def checkout(self) -> None:
        """Another commit: file by file, behind Git's lock."""
        tree = self._other_tree()
        self._lock()
        await self._replace_slowly(tree, len(self._names))
        self._unlock()
        self._mean(tree)

    # --- what goes wrong ---

    async def killed_checkout(self) -> None:
        """Git dies in the middle and its lock stays; after a while somebody cleans up."""
        self._lock()
        await self._replace_slowly(self._other_tree(), self._rng.randrange(len(self._names)))
        await self._clock.sleep(self._rng.choice((5.0, 60.0, 700.0)))
        self._lay(self.tree)
        self._unlock()
        self._mean(self.tree)

    async def conflict(self) -> None:
        """A merge or rebase stops with conflict markers, and is taken back."""
        sign = self._rng.choice(("MERGE_HEAD", "rebase-merge", "CHERRY_PICK_HEAD"))
        self._taint()
        self._files.put(f"{self._root}/.git/{sign}", "")
        for name in self._names:
            fate = self._rng.randrange(3)
            if fate == 0:
                self._files.take_away(self.path(name))
            elif fate == 1:
                self._files.put(self.path(name), f"<<<<<<<\n{self._render(name, 0)}=======\n")
        await self._clock.sleep(self._rng.choice((3.0, 40.0, 120.0)))
        self._lay(self.tree)
        self._files.take_away(f"{self._root}/.git/{sign}")
        self._mean(self.tree)

    async def outage(self) -> None:
        """The disk or the network file system fails, as a whole or for one file."""
        kept = [self.path(name) for name in sorted(self.tree)]
        place = self._rng.choice((self._root, *kept))
        self.is_readable = False
        self._files.faults[place] = OSError(self._rng.choice((errno.EIO, errno.EACCES, errno.ESTALE)), "fault")
        await self._clock.sleep(self._rng.choice((1.0, 30.0, 120.0)))
        del self._files.faults[place]
        self.is_readable = True

    async def unmount(self) -> None:
        """An empty directory is there instead, of another file system; or none is."""
        marker = self._text(MARKER)
        self._taint()
        self._files.take_away(self._root)
        if self._rng.random() < 0.5:
            self._files.make_directory(self._root)
        await self._clock.sleep(self._rng.choice((1.0, 30.0, 300.0)))
        self._restore(marker)

    async def flip(self) -> None:
        """The same files in another directory, at once."""
        marker = self._text(MARKER)
        self._files.take_away(self._root)
        self._restore(marker)

    async def lose_marker(self) -> None:
        """Somebody empties the directory with everything in it."""
        marker = self._text(MARKER)
        self._taint()
        self._files.take_away(f"{self._root}/{MARKER}")
        for name in self._names:
            self._files.take_away(self.path(name))
        await self._clock.sleep(self._rng.choice((1.0, 60.0)))
        self._restore(marker)

    async def tire_watcher(self) -> None:
        self._files.watching = self._rng.choice(list(Watching))

    # --- inside ---

    def _other_tree(self) -> dict[str, int]:
        share = self._rng.choice((0.0, 0.3, 0.7, 0.9, 1.0))
        return {name: self._rng.choice(_NODES) for name in self._names if self._rng.random() < share}

    async def _replace_slowly(self, tree: Mapping[str, int], count: int) -> None:
        names = self._rng.sample(self._names, len(self._names))
        for name in names[:count]:
            self._write(name, tree.get(name))
            await self._clock.sleep(self._rng.choice((0.0, 0.01, 2.0, 15.0)))

    def _lay(self, tree: Mapping[str, int]) -> None:
        for name in self._names:
            self._write(name, tree.get(name))

    def _write(self, name: str, nodes: int | None) -> None:
        if nodes is None:
            self._files.take_away(self.path(name))
        else:
            self._files.put(self.path(name), self._render(name, nodes))

    def _restore(self, marker: str) -> None:
        self._files.make_directory(self._root)
        self._files.make_directory(f"{self._root}/.git")
        if marker:
            self._files.put(f"{self._root}/{MARKER}", marker)
        self._lay(self.tree)
        self._mean(self.tree)

    def _lock(self) -> None:
        self._taint()
        self._files.put(f"{self._root}/.git/index.lock", "")

    def _unlock(self) -> None:
        self._files.take_away(f"{self._root}/.git/index.lock")

    def _text(self, name: str) -> str:
        path = f"{self._root}/{name}"
        return self._files.text(path) if path in self._files.entries else ""

    def _taint(self) -> None:
        self.is_clean = False
        self.on_change()

    def _mean(self, tree: Mapping[str, int]) -> None:
        self.tree = dict(tree)
        self.is_clean = True
        self.on_change()
