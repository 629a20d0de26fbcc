"""What happens to the manifest directory: nothing that anybody means, and all of it passes."""

from __future__ import annotations

from collections.abc import Callable

from skyward.intake import MARKER
from tests.intake.files import Watching
from tests.simulation.operator import MANIFESTS
from tests.simulation.world import World


def accidents(world: World) -> dict[str, Callable[[], bool]]:
    """What happens to the manifest directory. All of it passes."""
    faults, desire, files = world.faults, world.desire, world.files
    root = str(MANIFESTS)
    busy: set[str] = set()

    def for_a_while(kind: str, begin: Callable[[], None], low: float, high: float) -> Callable[[], bool]:
        """One at a time: two at once would mend each other."""

        def happen() -> bool:
            if busy or not desire.wishes:
                return False
            busy.add(kind)
            seconds = faults.between(kind, low, high)
            world.tell("files", f"{kind} for {seconds:.0f} s")
            begin()

            def end() -> None:
                busy.discard(kind)
                world.tell("files", f"{kind} is over")
                heal(world)

            world.network.after(seconds, end)
            return True

        return happen

    def remove_all() -> None:
        files.take_away(root)

    def replace() -> None:
        """Unmounted: another directory is there, and it is empty."""
        files.take_away(root)
        files.make_directory(root)

    def break_one() -> None:
        names = sorted(desire.wishes)
        desire.spoil(names[faults.pick("broken-manifest", len(names))], faults.pick("broken-manifest", 101) / 100)

    def lock() -> None:
        """Git is in the middle of a checkout: half of the files are not there."""
        files.put(f"{root}/.git/index.lock", "")
        for name in sorted(desire.wishes)[::2]:
            files.remove(MANIFESTS / f"{name}.yaml")

    def other_branch() -> None:
        """Whole and without any pool."""
        for name in desire.wishes:
            files.remove(MANIFESTS / f"{name}.yaml")

    def silence() -> None:
        files.watching = Watching.SILENT

    def unreadable() -> None:
        files.faults[root] = OSError(5, "Input/output error", root)

    return {
        "broken-manifest": for_a_while("broken-manifest", break_one, 1.0, 600.0),
        "git-busy": for_a_while("git-busy", lock, 0.5, 300.0),
        "source-removed": for_a_while("source-removed", remove_all, 1.0, 600.0),
        "source-replaced": for_a_while("source-replaced", replace, 1.0, 600.0),
        "source-unreadable": for_a_while("source-unreadable", unreadable, 1.0, 600.0),
        "other-branch": for_a_while("other-branch", other_branch, 0.2, 60.0),
        "watcher-silent": for_a_while("watcher-silent", silence, 60.0, 1200.0),
    }


def heal(world: World) -> None:
    """The directory is as its users want it, mark and all."""
    files, root = world.files, str(MANIFESTS)
    files.faults.clear()
    files.watching = Watching.ALIVE
    files.entries.pop(f"{root}/.git/index.lock", None)
    files.directories.discard(f"{root}/.git")
    if f"{root}/{MARKER}" not in files.entries and world.installation:
        files.put(f"{root}/{MARKER}", f"{world.installation}\n")
    world.desire.mend()
