"""The contract of backends, under the launcher, in jobs of several sizes."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

CONTRACT = Path(__file__).with_name('conformance.py')


@lru_cache
def collected() -> int:
    """Return how many tests the contract consists of."""
    command = [sys.executable, '-m', 'pytest', str(CONTRACT), '--collect-only', '--quiet', '-p', 'no:cacheprovider']
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return listed.count('::test_')


@pytest.mark.parametrize(
    'ranks',
    [
        pytest.param(1, marks=pytest.mark.mpich),
        pytest.param(2, marks=pytest.mark.soak),
        3,
        pytest.param(8, marks=pytest.mark.soak),
    ],
)
def test_the_backend_keeps_the_contract_with_so_many_ranks(mpirun: Any, ranks: int) -> None:
    job = mpirun(ranks, f"import runpy\nrunpy.run_path({str(CONTRACT)!r}, run_name='__main__')\n", timeout=240)
    assert job.status == 0, job.out + job.err
    passed = re.search(r'(\d+) passed in', job.out)
    assert passed is not None
    assert int(passed[1]) == collected()
