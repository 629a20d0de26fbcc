"""NVIDIA accelerators, asked through `nvidia-smi` where there is one. Never on the way of anything else."""

from __future__ import annotations

import asyncio
import contextlib
import shutil

PERIOD_S = 10.0
_DEADLINE_S = 8.0
_FIELDS = ("name", "utilization.gpu", "memory.used", "memory.total", "temperature.gpu")
_METRICS = ("percent", "memory_used_bytes", "memory_total_bytes", "celsius")
_MEBIBYTE = 1024 * 1024


class GpuSensor:
    """The last reading is kept; an accelerator that stops answering leaves no metrics rather than old ones."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.metrics: dict[str, float] = {}

    async def run(self) -> None:
        """Until cancelled; returns at once on a node without the tool."""
        program = shutil.which("nvidia-smi")
        while program is not None:
            text = await _ask(program)
            names, self.metrics = parse(text)
            self.names = names or self.names
            await asyncio.sleep(PERIOD_S)


def parse(text: str) -> tuple[tuple[str, ...], dict[str, float]]:
    """Names and metrics from the tool's comma-separated lines; what a card does not support is absent."""
    names: list[str] = []
    metrics: dict[str, float] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(_FIELDS):
            continue
        for metric, cell in zip(_METRICS, cells[1:], strict=True):
            with contextlib.suppress(ValueError):
                factor = _MEBIBYTE if metric.endswith("_bytes") else 1
                metrics[f"gpu{len(names)}_{metric}"] = float(cell) * factor
        names.append(cells[0])
    return tuple(names), metrics


async def _ask(program: str) -> str:
    """The tool's answer; empty when it fails or hangs."""
    command = (program, f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits")
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
