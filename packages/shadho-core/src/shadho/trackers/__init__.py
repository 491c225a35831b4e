"""Trackers: observers that note every finished trial where other tools look for it."""

from shadho.trackers.base import Tracker
from shadho.trackers.csv import CSVLogger
from shadho.trackers.mlflow import MLflow
from shadho.trackers.tensorboard import TensorBoard

__all__ = ['CSVLogger', 'MLflow', 'TensorBoard', 'Tracker']
