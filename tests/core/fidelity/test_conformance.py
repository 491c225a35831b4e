"""Our own fidelities keep the contract."""

from __future__ import annotations

from shadho.fidelity import Fidelity, FidelityContext
from shadho.fidelity.asha import ASHA
from shadho.fidelity.full import Full
from shadho.fidelity.hyperband import Hyperband
from shadho.fidelity.median import Median
from shadho.testing import FidelitySuite


class TestFull(FidelitySuite):
    def make(self, context: FidelityContext) -> Fidelity:
        return Full(context)


class TestASHA(FidelitySuite):
    def make(self, context: FidelityContext) -> Fidelity:
        return ASHA(context)


class TestHyperband(FidelitySuite):
    def make(self, context: FidelityContext) -> Fidelity:
        return Hyperband(context)


class TestMedian(FidelitySuite):
    def make(self, context: FidelityContext) -> Fidelity:
        return Median(context)
