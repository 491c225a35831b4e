"""Scheduling: which tree runs on which compute class."""

from shadho.scheduling.policy import ClassPlan, Heuristic, Policy, PolicyContext

__all__ = ['ClassPlan', 'Heuristic', 'Policy', 'PolicyContext']
