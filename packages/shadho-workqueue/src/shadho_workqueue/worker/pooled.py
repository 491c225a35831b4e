"""A worker as a job of a batch system."""

from __future__ import annotations

import argparse
import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from shadho_workqueue.reach import Driver
from shadho_workqueue.worker.main import become_worker, detect

__all__ = ['become_pooled_worker']


def become_pooled_worker(job: str, arguments: Sequence[str]) -> NoReturn:
    """Turn a job of the batch system into a worker, with the arguments that the engine's worker would be given."""
    given = json.loads(job)
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    for option in ('--cores', '--memory', '--gpus'):
        parser.add_argument(option, type=lambda text: int(float(text)))  # such as 1.000
    # Neither the proxy that the factory asks nor the public catalog that it names: where the driver is, the pool knows.
    for option in ('-C', '-M'):
        parser.add_argument(option)
    parser.add_argument('--parent-death', action='store_true')
    known, others = parser.parse_known_args(arguments)
    find = None
    if given['driver'] is not None:
        place = Path(given['driver'])
        driver, find = Driver.read(place), lambda: _read(place)
    else:
        driver = Driver(tuple(given['address']), tuple(others[0 if known.M else 2 :]))
    gpus = given['gpus'] if given['gpus'] is not None else ['gpu'] * known.gpus if known.gpus else None
    cores = given['cores'] or known.cores or _granted('SLURM_CPUS_ON_NODE')
    memory = given['memory'] or known.memory or _granted('SLURM_MEM_PER_NODE')
    found = detect(cores or None, memory or None, gpus, given['features'])
    become_worker(driver, found, socket.gethostname(), find, known.parent_death)


def _read(place: Path) -> Driver | None:
    """Return where the driver is now; None when the pool has gone."""
    try:
        return Driver.read(place)
    except (OSError, ValueError):
        return None


def _granted(variable: str) -> int:
    """Return what Slurm has given this job; 0 when it does not say."""
    text = os.environ.get(variable, '')
    return int(text) if text.isdigit() else 0
