from shadho.scheduling.fcfs import FirstComeFirstServed
from shadho.testing import PolicySuite


class TestFirstComeFirstServed(PolicySuite):
    def make(self, forest, history, seed):
        return FirstComeFirstServed(forest, history, seed=seed)
