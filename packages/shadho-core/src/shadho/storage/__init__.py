"""Storage: an append-only log of trials and results."""

from shadho.storage.base import Metadata, Record, Storage, contradiction, in_order, replay
from shadho.storage.index import LogIndex

__all__ = ['LogIndex', 'Metadata', 'Record', 'Storage', 'contradiction', 'in_order', 'replay']
