"""Evaluating one trial where it runs."""
