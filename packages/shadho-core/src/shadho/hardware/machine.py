"""What this machine offers: cores, memory, processor, GPUs."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shadho.errors import ConfigurationError
from shadho.records import ComputeClass, Hardware

__all__ = ['OVERRIDE', 'gpu_environment', 'probe', 'usable_cpus', 'visible_gpus']

OVERRIDE = 'SHADHO_HARDWARE'
"""Environment variable that replaces what is probed: JSON such as ``{"cores": 4, "gpus": ["V100"]}``."""

_CONTROL_GROUP = Path('/sys/fs/cgroup')


def probe(**share: Any) -> Hardware:
    """Return the hardware that this process may use.

    Cores respect the processor affinity and a container's CPU quota, memory (MiB) a container's
    limit, GPUs ``CUDA_VISIBLE_DEVICES``; the environment variable ``SHADHO_HARDWARE`` (JSON)
    overrides single facts.

    Parameters
    ----------
    **share : Any
        Facts that replace what is found, where this process has only a part of it.
    """
    found = {
        'cores': _cores(),
        'memory': _memory(),
        'gpus': tuple(model for _, model in visible_gpus()),
        'cpu': _cpu_model(),
    }
    return ComputeClass(hardware={**found, **share, **_override()}).hardware


def _override() -> dict[str, object]:
    text = os.environ.get(OVERRIDE)
    if not text:
        return {}
    example = '\'{"cores": 4, "memory": 8000, "gpus": ["V100"]}\''
    try:
        facts = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(
            f'the environment variable {OVERRIDE} is not JSON ({error}); an example: {example}'
        ) from None
    checks: dict[str, Callable[[Any], bool]] = {
        'cores': lambda value: isinstance(value, int) and value >= 1,
        'memory': lambda value: isinstance(value, int) and value >= 0,
        'gpus': lambda value: (
            isinstance(value, int) or (isinstance(value, list) and all(isinstance(gpu, str) for gpu in value))
        ),
    }
    if not isinstance(facts, dict):
        raise ConfigurationError(
            f'the environment variable {OVERRIDE} must be a JSON object; got {text!r}; an example: {example}'
        )
    for name, check in checks.items():
        if name in facts and (isinstance(facts[name], bool) or not check(facts[name])):
            raise ConfigurationError(f'{OVERRIDE}: {name} cannot be {facts[name]!r}; an example: {example}')
    return facts


def usable_cpus() -> list[int]:
    """Return the numbers of the CPUs that this process may run on."""
    if hasattr(os, 'sched_getaffinity'):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _cores() -> int:
    """Return how many CPUs this process may use at a time.

    joblib and loky count them alike, but take a tenth of a second to import, in every process that looks.
    """
    counts = [len(usable_cpus())]
    quota = _quota()
    if quota is not None:
        counts.append(quota)
    with contextlib.suppress(KeyError, ValueError):
        counts.append(int(os.environ['LOKY_MAX_CPU_COUNT']))
    return max(min(counts), 1)


def _quota() -> int | None:
    """Return how many CPUs' time the control group of this process may use; None without a limit."""
    for paths in (['cpu.max'], ['cpu/cpu.cfs_quota_us', 'cpu/cpu.cfs_period_us']):
        try:
            quota, period = map(int, ' '.join((_CONTROL_GROUP / path).read_text() for path in paths).split())
        except (OSError, ValueError):  # absent, or 'max'
            continue
        if quota > 0 and period > 0:
            return math.ceil(quota / period)
    return None


def _memory() -> int:
    """Return MiB of memory: the machine's, or the container's limit when that is lower."""
    limits = [os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')]
    for path in ('memory.max', 'memory/memory.limit_in_bytes'):
        try:
            limits.append(int((_CONTROL_GROUP / path).read_text()))
        except (OSError, ValueError):  # absent, or 'max'
            continue
    return min(limits) // 2**20


def _cpu_model() -> str:
    try:
        with open('/proc/cpuinfo', encoding='utf-8', errors='replace') as file:
            for line in file:
                if line.startswith('model name'):
                    return line.partition(':')[2].strip()
    except OSError:
        pass
    import platform

    return platform.processor() or platform.machine()


def visible_gpus() -> list[tuple[str, str]]:
    """Return (identifier for ``CUDA_VISIBLE_DEVICES``, model) of each usable NVIDIA GPU."""
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        models = {}
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            models[index] = (_text(pynvml.nvmlDeviceGetUUID(handle)), _text(pynvml.nvmlDeviceGetName(handle)))
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()
    allowed = os.environ.get('CUDA_VISIBLE_DEVICES')
    if allowed is None:  # by identifier, as CUDA counts the devices in another order than this library
        return list(models.values())
    return _allowed(allowed, models)


def gpu_environment(devices: Sequence[str], resources: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables that show a trial its own GPUs, and none when it asks for none."""
    hides = resources.get('gpus') == 0
    shown = [] if hides else list(dict.fromkeys(devices))
    return {'CUDA_VISIBLE_DEVICES': ','.join(shown)} if shown or hides else {}


def _allowed(allowed: str, models: dict[int, tuple[str, str]]) -> list[tuple[str, str]]:
    """Read ``CUDA_VISIBLE_DEVICES`` as CUDA does: up to the first entry that names no device."""
    found = []
    for entry in allowed.split(','):
        entry = entry.strip()
        for index, (uuid, model) in models.items():
            if entry == str(index) or (entry.startswith('GPU-') and uuid.startswith(entry)):
                found.append((entry, model))
                break
        else:
            break
    return found


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
