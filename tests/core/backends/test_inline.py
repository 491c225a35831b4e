from shadho.backends.inline import Inline
from shadho.testing import BackendSuite


class TestInline(BackendSuite):
    def make(self):
        return Inline()
