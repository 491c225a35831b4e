import pytest

from shadho.testing import IsolatedBackendSuite
from shadho_workqueue import WorkQueue


class Staffed(WorkQueue):
    """Has one worker, which goes from search to search on one port."""

    def __init__(self, crew, port):
        super().__init__(port, keep_workers=True)
        self.crew = crew

    def open(self, job):
        super().open(job)
        if not any(hand.is_running for hand in self.crew.hands):
            self.crew.start('-M', job.exp_key, cores=2)
        self.crew.wait_until(self._has_worker, 'the coming of the worker')

    def _has_worker(self):
        assert list(self.poll(0.02)) == []
        self.discover()
        return len(self.workers()) == 1


class TestWorkQueue(IsolatedBackendSuite):
    @pytest.fixture
    def state_folder(self):
        """Leave it as it is: the worker has found its driver there."""

    @pytest.fixture(autouse=True)
    def take_crew(self, lasting_crew, free_port):
        self.crew, self.port = lasting_crew, free_port

    def make(self):
        return Staffed(self.crew, self.port)
