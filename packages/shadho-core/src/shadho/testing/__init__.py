"""Suites that a sampler, backend, storage, policy, fidelity or heuristic must pass, whoever wrote it.

Subclass a suite in a test module, say how an object is made, and pytest runs every test of it::

    from shadho.testing import SamplerSuite

    class TestHalton(SamplerSuite):
        def make(self, context):
            return Halton(context)

This is the only part of shadho-core that needs pytest (``pip install pytest``), which is therefore
none of its dependencies.
"""

from __future__ import annotations

try:
    import pytest
except ImportError as error:
    raise ImportError('shadho.testing needs pytest: pip install pytest') from error

# So that a failing assertion of a suite shows its values, as one in a test module does.
pytest.register_assert_rewrite(
    'shadho.testing.backends',
    'shadho.testing.fidelities',
    'shadho.testing.heuristics',
    'shadho.testing.ledgers',
    'shadho.testing.policies',
    'shadho.testing.samplers',
    'shadho.testing.storages',
)

from shadho.testing.backends import BackendSuite, ConcurrentBackendSuite, IsolatedBackendSuite  # noqa: E402
from shadho.testing.fidelities import FidelitySuite  # noqa: E402
from shadho.testing.heuristics import HeuristicSuite  # noqa: E402
from shadho.testing.ledgers import LedgerSuite  # noqa: E402
from shadho.testing.policies import PolicySuite  # noqa: E402
from shadho.testing.samplers import SamplerRun, SamplerSuite  # noqa: E402
from shadho.testing.spaces import SPACES, some_trees  # noqa: E402
from shadho.testing.storages import DurableStorageSuite, StorageSuite  # noqa: E402

__all__ = [
    'SPACES',
    'BackendSuite',
    'ConcurrentBackendSuite',
    'DurableStorageSuite',
    'HeuristicSuite',
    'IsolatedBackendSuite',
    'FidelitySuite',
    'LedgerSuite',
    'PolicySuite',
    'SamplerRun',
    'SamplerSuite',
    'StorageSuite',
    'some_trees',
]
