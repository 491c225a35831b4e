"""A storage that keeps nothing on disk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shadho.storage.base import Metadata, Record, Storage

__all__ = ['Memory']


class Memory(Storage):
    """Keeps records in this process, and forgets them with it."""

    name = 'memory'

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._metadata: Metadata = {}

    def __repr__(self) -> str:
        return '<Memory>'

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def append(self, record: Record) -> None:
        self._records.append(record)

    def flush(self) -> None:
        pass

    def read(self, after: int = 0) -> Iterator[tuple[int, Record]]:
        for position in range(after, len(self._records)):
            record = self._records[position]
            yield position + 1, record.copied()

    def metadata(self) -> Metadata:
        return dict(self._metadata)

    def update(self, **values: Any) -> None:
        self._metadata.update(values)
