"""Runs the tests of the contract on the first rank of a job, while the other ranks serve it."""

from __future__ import annotations

import sys

import pytest

from shadho.testing import IsolatedBackendSuite
from shadho_mpi import MPI


class TestMPI(IsolatedBackendSuite):
    def make(self) -> MPI:
        return MPI()


if __name__ == '__main__':
    MPI().attend()  # the others do not return from here
    sys.exit(pytest.main([__file__, '--quiet', '--color=no', '-p', 'no:cacheprovider', *sys.argv[1:]]))
