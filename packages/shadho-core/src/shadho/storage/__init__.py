"""Storage: append-only logs of the events of a search."""

from shadho.storage.base import Metadata, Storage, contradiction, in_order, replay
from shadho.storage.index import LogIndex

__all__ = ['LogIndex', 'Metadata', 'Storage', 'contradiction', 'in_order', 'replay']
