from shadho.scheduling.complexity import Complexity
from shadho.scheduling.fcfs import FirstComeFirstServed
from shadho.scheduling.ranked import Ranked
from shadho.scheduling.uncertainty import Uncertainty
from shadho.testing import HeuristicSuite, PolicySuite


class TestFirstComeFirstServed(PolicySuite):
    def make(self, context):
        return FirstComeFirstServed(context)


class TestRanked(PolicySuite):
    def make(self, context):
        return Ranked(context)


class TestComplexity(HeuristicSuite):
    def make(self):
        return Complexity()


class TestUncertainty(HeuristicSuite):
    def make(self):
        return Uncertainty()
