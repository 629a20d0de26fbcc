"""CPU, memory, disk, network and load of the host, from /proc. Each reading takes well under a millisecond."""

from __future__ import annotations

import os
from pathlib import Path

_LOW_BYTES = 64 * 1024 * 1024


class HostSensor:
    """CPU use is that between two readings."""

    def __init__(self, disk: Path) -> None:
        self._disk = disk
        self._cpu = _cpu_ticks()

    def read(self) -> dict[str, float]:
        """Metrics by name; what this host does not tell is absent."""
        total, available = _memory()
        disk_total, disk_free = self._disk_bytes()
        metrics = {
            "cpu_percent": self._cpu_percent(),
            "load_1m": os.getloadavg()[0],
            "memory_total_bytes": total,
            "memory_used_bytes": total - available,
            "disk_total_bytes": disk_total,
            "disk_used_bytes": disk_total - disk_free,
        }
        received, sent = _network()
        metrics |= {"network_received_bytes": received, "network_sent_bytes": sent}
        return {name: float(value) for name, value in metrics.items()}

    def problem(self) -> str:
        """What makes this host unfit for work; empty when nothing does."""
        total, free = self._disk_bytes()
        if total and free < _LOW_BYTES:
            return f"the disk of {self._disk} is full: {free // 2**20} MiB left"
        return ""

    def _disk_bytes(self) -> tuple[int, int]:
        try:
            disk = os.statvfs(self._disk)
        except OSError:
            return 0, 0
        return disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize

    def _cpu_percent(self) -> float:
        before, self._cpu = self._cpu, _cpu_ticks()
        total = self._cpu[0] - before[0]
        return 100.0 * (self._cpu[1] - before[1]) / total if total > 0 else 0.0


def _network() -> tuple[int, int]:
    """Bytes (received, sent) since the host booted, by all interfaces but its own loopback."""
    received = sent = 0
    try:
        with open("/proc/net/dev") as file:
            for line in file:
                name, colon, rest = line.partition(":")
                words = rest.split()
                if colon and name.strip() != "lo" and len(words) > 8:
                    received, sent = received + int(words[0]), sent + int(words[8])
    except (OSError, ValueError):
        pass
    return received, sent


def _cpu_ticks() -> tuple[int, int]:
    """(all, not idle) since the host booted."""
    try:
        with open("/proc/stat") as file:
            ticks = [int(word) for word in file.readline().split()[1:9]]
    except (OSError, ValueError):
        return 0, 0
    return sum(ticks), sum(ticks) - sum(ticks[3:5])


def _memory() -> tuple[int, int]:
    """(total, available) bytes."""
    wanted = {"MemTotal:": 0, "MemAvailable:": 0}
    try:
        with open("/proc/meminfo") as file:
            for line in file:
                name, value = line.split()[:2]
                if name in wanted:
                    wanted[name] = int(value) * 1024
    except (OSError, ValueError):
        pass
    return wanted["MemTotal:"], wanted["MemAvailable:"]
