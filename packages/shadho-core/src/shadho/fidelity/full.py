"""Every trial runs to its end."""

from __future__ import annotations

from shadho.fidelity.base import Decision, Fidelity
from shadho.records import Report, Trial

__all__ = ['Full']


class Full(Fidelity):
    """Runs every trial to its last step."""

    name = 'full'
    needs_steps = False

    def judge(self, trial: Trial, report: Report) -> Decision:
        return Decision.GO_ON
