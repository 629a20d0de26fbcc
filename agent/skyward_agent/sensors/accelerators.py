"""Which accelerators a lane sees: its share of the node's, always the same one, told to CUDA and ROCm by their variables.

Eight accelerators and four lanes make two for each; one accelerator and four lanes make the same one for all.
"""

from __future__ import annotations

from skyward_agent.wire.records import record

CUDA = "cuda"
ROCM = "rocm"
_VARIABLES = {CUDA: ("CUDA_VISIBLE_DEVICES",), ROCM: ("ROCR_VISIBLE_DEVICES",)}


@record(frozen=True, slots=True)
class Accelerator:
    kind: str
    """`cuda` or `rocm`."""
    index: int
    name: str
    uuid: str = ""
    """The same after a restart of the host; empty where its tool tells none."""


def permitted(accelerators: tuple[Accelerator, ...], environment: dict[str, str]) -> tuple[Accelerator, ...]:
    """Those that the agent itself may use: whoever started it may have left it only some."""
    for variable in ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        if variable in environment:
            words = [word.strip() for word in environment[variable].split(",") if word.strip()]
            accelerators = tuple(
                one for one in accelerators if variable not in _VARIABLES[one.kind] or _is_among(one, words)
            )
    return accelerators


def share(accelerators: tuple[Accelerator, ...], lane: int, lanes: int) -> tuple[Accelerator, ...]:
    """This lane's: its own ones while there are enough, else one that it shares with its neighbours."""
    count = len(accelerators)
    if not count or not 0 <= lane < lanes:
        return ()
    first = lane * count // lanes
    return accelerators[first : max((lane + 1) * count // lanes, first + 1)]


def visibility(accelerators: tuple[Accelerator, ...]) -> dict[str, str]:
    """The variables that make these visible and no others; none for a node without any."""
    found: dict[str, str] = {}
    for kind, variables in _VARIABLES.items():
        words = [one.uuid or str(one.index) for one in accelerators if one.kind == kind]
        if words:
            found |= dict.fromkeys(variables, ",".join(words))
    return found


def _is_among(one: Accelerator, words: list[str]) -> bool:
    return str(one.index) in words or any(one.uuid and one.uuid.startswith(word) for word in words if len(word) > 4)
