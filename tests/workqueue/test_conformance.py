import pytest

from shadho.testing import IsolatedBackendSuite


class TestWorkQueue(IsolatedBackendSuite):
    @pytest.fixture(autouse=True)
    def take_workers(self, staffed):
        self.staffed = staffed

    def make(self):
        return self.staffed({'cores': 2})
