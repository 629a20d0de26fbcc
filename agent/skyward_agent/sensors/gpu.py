"""Accelerators, asked through their makers' own tools where there are any. Never on the way of anything else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import Callable
from dataclasses import field

from skyward_agent.sensors.accelerators import CUDA, ROCM, Accelerator
from skyward_agent.wire.records import record

PERIOD_S = 10.0
_DEADLINE_S = 8.0
_FIELDS = ("index", "uuid", "name", "utilization.gpu", "memory.used", "memory.total", "temperature.gpu")
_METRICS = ("percent", "memory_used_bytes", "memory_total_bytes", "celsius")
_NVIDIA = ("nvidia-smi", f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits")
_AMD = ("rocm-smi", "--showproductname", "--showuniqueid", "--showuse", "--showmeminfo", "vram", "--showtemp", "--json")
_AMD_METRICS = {
    "GPU use (%)": "percent",
    "VRAM Total Used Memory (B)": "memory_used_bytes",
    "VRAM Total Memory (B)": "memory_total_bytes",
    "Temperature (Sensor edge) (C)": "celsius",
}
_MEBIBYTE = 1024 * 1024


@record(frozen=True, slots=True)
class Reading:
    accelerators: tuple[Accelerator, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)


class GpuSensor:
    """The last metrics are kept; an accelerator that stops answering leaves none rather than old ones. Which ones there are
    is told once, to `found`, by the first answer: what a lane sees does not change while the agent lives."""

    def __init__(self, found: Callable[[tuple[Accelerator, ...]], None]) -> None:
        self._found = found
        self.accelerators: tuple[Accelerator, ...] = ()
        self.metrics: dict[str, float] = {}
        self._listed = asyncio.Event()

    async def listed(self) -> None:
        """Wait until it is known which ones there are; not for long."""
        await self._listed.wait()

    async def run(self) -> None:
        """Until cancelled; returns at once on a node without any tool."""
        tools = [(command, parse) for command, parse in _TOOLS if shutil.which(command[0]) is not None]
        while tools:
            readings = [parse(await _ask(command)) for command, parse in tools]
            found = tuple(one for reading in readings for one in reading.accelerators)
            if found and not self.accelerators:
                self.accelerators = found
                self._found(found)
            self.metrics = {name: value for reading in readings for name, value in reading.metrics.items()}
            self._listed.set()
            await asyncio.sleep(PERIOD_S)
        self._listed.set()


def parse_nvidia(text: str) -> Reading:
    """From comma-separated lines; what a card does not support is absent."""
    found: list[Accelerator] = []
    metrics: dict[str, float] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(_FIELDS) or not cells[0].isdigit():
            continue
        index, uuid, name = int(cells[0]), cells[1], cells[2]
        found.append(Accelerator(CUDA, index, name, uuid if uuid.startswith("GPU-") else ""))
        for metric, cell in zip(_METRICS, cells[3:], strict=True):
            factor = _MEBIBYTE if metric.endswith("_bytes") else 1
            _put(metrics, f"gpu{index}_{metric}", cell, factor)
    return Reading(tuple(found), metrics)


def parse_amd(text: str) -> Reading:
    """From one JSON object with an entry for each card."""
    found: list[Accelerator] = []
    metrics: dict[str, float] = {}
    try:
        cards = json.loads(text)
    except ValueError:
        return Reading()
    for key, values in cards.items() if isinstance(cards, dict) else ():
        number = key.removeprefix("card")
        if not (number.isdigit() and isinstance(values, dict)):
            continue
        index = int(number)
        name = str(values.get("Card Series") or values.get("Card series") or "AMD")
        unique = str(values.get("Unique ID", "")).removeprefix("0x")
        found.append(Accelerator(ROCM, index, name, f"GPU-{unique}" if unique.isalnum() else ""))
        for said, metric in _AMD_METRICS.items():
            _put(metrics, f"gpu{index}_{metric}", str(values.get(said, "")), 1)
    return Reading(tuple(sorted(found, key=lambda one: one.index)), metrics)


def _put(metrics: dict[str, float], name: str, text: str, factor: int) -> None:
    with contextlib.suppress(ValueError):
        metrics[name] = float(text) * factor


_TOOLS: tuple[tuple[tuple[str, ...], Callable[[str], Reading]], ...] = ((_NVIDIA, parse_nvidia), (_AMD, parse_amd))


async def _ask(command: tuple[str, ...]) -> str:
    """The tool's answer; empty when it fails or hangs."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return ""
    try:
        async with asyncio.timeout(_DEADLINE_S):
            output, _ = await process.communicate()
    except TimeoutError:
        output = b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return output.decode(errors="replace") if process.returncode == 0 else ""
