"""Ctrl-C and SIGTERM, as the backend and whoever waits for the process see them."""

from __future__ import annotations

import os
import signal
from types import TracebackType
from typing import Any

import pytest

from shadho import Shadho, hookimpl, spaces
from shadho.backends.inline import Inline
from shadho.interrupts import Interrupts


@pytest.mark.parametrize(('number', 'error'), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_second_signal_is_not_held_back(number: int, error: type[BaseException]) -> None:
    interrupts = Interrupts()
    with interrupts:
        os.kill(os.getpid(), number)
        assert interrupts.name
        with pytest.raises(error) as raised:
            os.kill(os.getpid(), number)
    assert raised.value.args == ((128 + number,) if error is SystemExit else ())


class Signals:
    """Sends a signal to this process once a trial is done."""

    def __init__(self, number: int) -> None:
        self.number = number

    @hookimpl
    def shadho_trial_finished(self, trial: Any) -> None:
        os.kill(os.getpid(), self.number)


@pytest.mark.parametrize(('number', 'expected'), [(signal.SIGINT, None), (signal.SIGTERM, SystemExit)])
def test_the_context_of_a_backend_ends_by_an_exception_when_the_search_is_cut_off(number: int, expected: Any) -> None:
    ends: list[type[BaseException] | None] = []

    class Noting(Inline):
        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None:
            ends.append(kind)
            super().__exit__(kind, error, trace)

    opt = Shadho(
        'cut', lambda params: 1.0, {'x': spaces.uniform(0, 1)}, backend=Noting(), max_tasks=5, storage=None, display=False,
        plugins=[Signals(number)],
    )  # fmt: skip
    if expected is None:
        assert opt.run().stopped == 'interrupted'
    else:
        with pytest.raises(SystemExit, match='143'):
            opt.run()
    assert ends == [expected]
