from shadho.testing import IsolatedBackendSuite
from shadho_local import Local


class TestLocal(IsolatedBackendSuite):
    def make(self):
        return Local(workers=2)
