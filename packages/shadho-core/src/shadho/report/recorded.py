"""What the commands that look at a recorded search have in common."""

from __future__ import annotations

from collections.abc import Container, Sequence

from shadho.errors import StorageError
from shadho.storage import Metadata, Storage

__all__ = ['columns', 'known_search', 'printable']


def known_search(storage: Storage) -> Metadata:
    """Return the metadata of a storage.

    Raises
    ------
    StorageError
        When it holds no search.
    """
    known = storage.metadata()
    if not {'outline', 'seed', 'direction', 'exp_key'} <= set(known):
        raise StorageError(f'{storage} holds no search; give the file of one that has run, such as svm.db')
    return known


def printable(text: object) -> str:
    """Replace what could steer a terminal: the file may be anybody's."""
    return ''.join(letter if letter.isprintable() else '?' for letter in str(text))


def columns(titles: Sequence[str], rows: Sequence[Sequence[str]], left: Container[int] = (0,)) -> list[str]:
    """Set rows below their titles: the columns named in `left` to the left, the others to the right.

    Examples
    --------
    >>> columns(['tree', 'trials'], [['rbf', '12'], ['linear', '3']])
    ['tree    trials', 'rbf         12', 'linear       3']
    """
    widths = [max(len(row[place]) for row in [titles, *rows]) for place in range(len(titles))]
    return [
        '  '.join(
            text.ljust(width) if place in left else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in [titles, *rows]
    ]
