"""Storage: an append-only log of trials and results."""

from shadho.storage.base import Metadata, Record, Storage, consistent
from shadho.storage.index import LogIndex

__all__ = ['LogIndex', 'Metadata', 'Record', 'Storage', 'consistent']
