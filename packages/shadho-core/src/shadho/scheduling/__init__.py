"""Scheduling: which tree runs on which compute class."""

from shadho.scheduling.policy import Heuristic, Policy

__all__ = ['Heuristic', 'Policy']
