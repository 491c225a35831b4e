"""Texts for people: numbers, times, parameters and tables, written alike wherever they are shown."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = [
    'WIDTH',
    'column',
    'counted',
    'flat',
    'format_loss',
    'format_params',
    'format_price',
    'format_seconds',
    'format_size',
    'html_table',
    'printable',
    'shorten',
    'text_of',
    'wrapped',
]

WIDTH = 80
"""Columns of texts that are printed: those of a terminal as it opens."""


def counted(count: int, noun: str, plural: str = '') -> str:
    """Write how many there are, with a noun that agrees in number.

    Examples
    --------
    >>> counted(1, 'trial'), counted(1200, 'trial'), counted(2, 'more class', 'more classes')
    ('1 trial', '1,200 trials', '2 more classes')
    """
    return f'{count:,} {noun if count == 1 else plural or noun + "s"}'


def format_loss(loss: float | None) -> str:
    """Write a loss for people, with six digits that count at most; a dash where there is none.

    Examples
    --------
    >>> format_loss(-0.999998), format_loss(0.0000383486), format_loss(12.0), format_loss(None)
    ('-0.999998', '3.83486e-05', '12', '-')
    """
    return '-' if loss is None else f'{loss + 0.0:.6g}'  # no -0 of a maximised one


def format_params(params: Any) -> list[tuple[str, str]]:
    """Return (path, value) texts of nested parameters."""
    return [
        (name, f'{value:.6g}' if isinstance(value, float) else text_of(value))
        for name, value in flat('', params).items()
    ]


def column(path: Iterable[Any]) -> str:
    """Name a column of a table after the place of its values; different places have different names.

    Examples
    --------
    >>> column(('params', 'layers', 0, 'width'))
    'params.layers[0].width'
    >>> column(('results', 'f1', 'macro')), column(('results', 'f1.macro'))
    ('results.f1.macro', "results['f1.macro']")
    """
    return ''.join(map(_step, path)).removeprefix('.')


def _step(key: Any) -> str:
    is_plain = isinstance(key, str) and key and not any(letter in '.[]' for letter in key)
    return f'.{key}' if is_plain else f'[{key!r}]'


def flat(prefix: str, value: Any) -> dict[str, Any]:
    """Return the leaves of nested dicts and lists by their paths, as `column` writes them."""
    if isinstance(value, Mapping) and value:
        items = list(value.items())
    elif isinstance(value, (list, tuple)) and value:
        items = list(enumerate(value))
    else:
        return {prefix.removeprefix('.') or 'value': value}
    return {name: leaf for key, item in items for name, leaf in flat(prefix + _step(key), item).items()}


def text_of(value: Any) -> str:
    """Return a text that any file can hold, for any value: a dependent one may be an object that has none."""
    try:
        return str(value).encode(errors='backslashreplace').decode()
    except Exception as error:
        return f'({type(value).__name__}: it cannot be shown, because of {type(error).__name__})'


def html_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a small table for notebooks; every text is escaped.

    Examples
    --------
    >>> html_table(['x'], [['<b>']])
    '<table><tr><th>x</th></tr><tr><td>&lt;b&gt;</td></tr></table>'
    """
    lines = [[f'<th>{html.escape(name)}</th>' for name in head]]
    lines += [[f'<td>{html.escape(text_of(cell))}</td>' for cell in row] for row in rows]
    return f'<table>{"".join(f"<tr>{cells}</tr>" for cells in map("".join, lines) if cells)}</table>'


def printable(text: object) -> str:
    r"""Replace what could steer a terminal, line breaks included: names, hosts and messages may be anybody's.

    Examples
    --------
    >>> printable('\x1b[2Jnode 7')
    '?[2Jnode 7'
    """
    return ''.join(letter if letter.isprintable() else '?' for letter in str(text))


def shorten(text: str, limit: int) -> str:
    """Cut a text that is longer than `limit` characters.

    Examples
    --------
    >>> shorten('gradient', 5)
    'grad…'
    """
    return text if len(text) <= limit else text[: max(limit - 1, 0)] + '…'


def wrapped(text: str, width: int = WIDTH) -> list[str]:
    """Break a line at spaces; what follows is indented by four columns more. Words, such as paths, stay whole.

    Examples
    --------
    >>> wrapped('    2 x the kernel is linear', 20)
    ['    2 x the kernel', '        is linear']
    """
    indent = len(text) - len(text.lstrip()) + 4
    lines = textwrap.wrap(
        text, width, subsequent_indent=' ' * indent, break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return lines if len(text) > width else [text]


def format_price(price: float) -> str:
    """Write by which share a search becomes faster with one more slot.

    Examples
    --------
    >>> format_price(0.5), format_price(0.0213), format_price(0.0000471)
    ('+50.0%', '+2.1%', '+0.0047%')
    """
    return f'{price:+.1%}' if abs(price) >= 0.01 or price == 0 else f'{100 * price:+.2g}%'


def format_seconds(seconds: float) -> str:
    """Write a duration for people.

    Examples
    --------
    >>> format_seconds(3.25), format_seconds(75), format_seconds(7384)
    ('3.2 s', '1 min 15 s', '2 h 03 min')
    """
    if seconds < 60:
        return f'{seconds:.1f} s'
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f'{minutes} min {rest:02d} s'
    return f'{minutes // 60} h {minutes % 60:02d} min'


def format_size(count: float) -> str:
    """Write a number of bytes for people.

    Examples
    --------
    >>> format_size(0), format_size(999), format_size(1234), format_size(20_500_000_000)
    ('0 B', '999 B', '1.2 kB', '20.5 GB')
    """
    power = 0
    while count >= 1000 and power < 4:
        count, power = count / 1000, power + 1
    return f'{count:.{min(power, 1)}f} {("B", "kB", "MB", "GB", "TB")[power]}'
