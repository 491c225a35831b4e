"""A storage in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shadho.records import Event, Result, Trial
from shadho.storage.base import Metadata, Storage

__all__ = ['Memory']


class Memory(Storage):
    """Keeps records in this process only; they are lost when it ends."""

    name = 'memory'

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._metadata: Metadata = {}

    def __repr__(self) -> str:
        return '<Memory>'

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def append(self, event: Event) -> None:
        self._events.append(event)

    def flush(self) -> None:
        pass

    def read(self, after: int = 0) -> Iterator[tuple[int, Event]]:
        for position in range(after, len(self._events)):
            event = self._events[position]
            yield position + 1, event.copied() if isinstance(event, (Trial, Result)) else event

    def metadata(self) -> Metadata:
        return dict(self._metadata)

    def update(self, **values: Any) -> None:
        self._metadata.update(values)
