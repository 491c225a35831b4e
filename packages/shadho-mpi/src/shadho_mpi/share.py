"""What part of its node a rank may use."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Sequence

import attrs

from shadho.hardware.machine import probe, usable_cpus, visible_gpus
from shadho.records import Hardware

__all__ = ['Facts', 'divide', 'facts']


@attrs.frozen
class Facts:
    """What a rank sees of its node, before it is divided.

    Attributes
    ----------
    rank : int
    host : str
    cpus : tuple of int
        Those that it may run on.
    cores : int
        How many it may use at a time: a quota, such as a container's, may be below the number of `cpus`.
    gpus : tuple of (str, str)
        Device and model.
    memory : int
        MiB.
    """

    rank: int
    host: str
    cpus: tuple[int, ...]
    cores: int
    gpus: tuple[tuple[str, str], ...]
    memory: int


def facts(rank: int) -> Facts:
    """Return what this rank sees."""
    found = probe()
    return Facts(rank, socket.gethostname(), tuple(usable_cpus()), found.cores, tuple(visible_gpus()), found.memory)


def divide(own: Facts, ranks: Sequence[Facts]) -> tuple[Hardware, list[str]]:
    """Return the share of a rank, and its GPUs' devices.

    Cores that several ranks of a node may use are divided among them, so are their quota and the memory;
    GPUs go round. Facts in ``SHADHO_HARDWARE`` are taken as they are.

    Parameters
    ----------
    own : Facts
    ranks : sequence of Facts
        Of all ranks that run trials, `own` among them.
    """
    node = [other for other in ranks if other.host == own.host]
    users = Counter(cpu for other in node for cpu in other.cpus)
    quota = min(1.0, own.cores / len(own.cpus))
    cores = max(1, int(sum(1 / users[cpu] for cpu in own.cpus) * quota + 1e-9))
    sharing = [other.rank for other in node if other.gpus == own.gpus]
    gpus = own.gpus[sharing.index(own.rank) :: len(sharing)]
    hardware = probe(cores=cores, memory=own.memory // len(node), gpus=tuple(model for _, model in gpus))
    return hardware, [device for device, _ in gpus]
