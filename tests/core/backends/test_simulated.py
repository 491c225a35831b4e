"""The simulated cluster: its clock, its workers, and the ways in which trials end there."""

from __future__ import annotations

from shadho import ComputeClass
from shadho.backends import Simulated
from shadho.testing import BackendSuite


class TestSimulated(BackendSuite):
    def make(self):
        return Simulated([ComputeClass('large', 2, {'cores': 16}), ComputeClass('small', 3)], lambda params, own: 1.5)
