from shadho_threads import Threads

from shadho.testing import ConcurrentBackendSuite


class TestThreads(ConcurrentBackendSuite):
    def make(self):
        return Threads(workers=3)


class TestOneThread(ConcurrentBackendSuite):
    def make(self):
        return Threads(workers=1)
