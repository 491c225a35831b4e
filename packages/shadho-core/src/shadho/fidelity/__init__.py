"""Fidelity: how far each trial is run."""

from shadho.fidelity.base import Decision, Fidelity, FidelityContext

__all__ = ['Decision', 'Fidelity', 'FidelityContext']
