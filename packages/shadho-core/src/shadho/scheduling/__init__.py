"""Scheduling: policies decide which trial runs on which compute class."""

from shadho.scheduling.policy import Choice, ClassPlan, Heuristic, Move, New, Policy, PolicyContext, Run, Slot

__all__ = ['Choice', 'ClassPlan', 'Heuristic', 'Move', 'New', 'Policy', 'PolicyContext', 'Run', 'Slot']
