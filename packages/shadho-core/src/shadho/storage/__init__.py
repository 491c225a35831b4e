"""Storage: an append-only log of trials and results."""

from shadho.storage.base import Metadata, Record, Storage, consistent

__all__ = ['Metadata', 'Record', 'Storage', 'consistent']
