"""The page of a search: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from shadho.errors import ConfigurationError
from shadho.report.comparison import comparison
from shadho.report.course import Course
from shadho.report.payload import payload
from shadho.result import SearchResult
from shadho.words import format_loss, format_seconds, printable

__all__ = ['comparison_page', 'packed', 'page', 'searches_page', 'to_html']

_SCRIPTS = ('unpack.js', 'figures.js', 'table.js', 'scatter.js', 'page.js')
_LIVE = ('live.js',)
_COMPARISON = ('unpack.js', 'figures.js', 'compare.js')


def to_html(result: SearchResult | Course, *others: SearchResult) -> str:
    """Return the page of a search: interactive figures and a table of all trials, in one file.

    It opens offline, loads nothing, and runs nothing that the search's file may hold.

    Parameters
    ----------
    result : SearchResult
    *others : SearchResult
        Searches to compare it with: then the page has the best loss of each so far, over trials and over time, the
        distributions of their losses, and a table.

    Raises
    ------
    ConfigurationError
        When plotly is missing, or of several searches some are minimised and some maximised.

    Examples
    --------
    >>> from pathlib import Path
    >>> import shadho
    >>> from shadho.report import to_html
    >>> Path('svm.html').write_text(to_html(shadho.load_result('svm.db')), encoding='utf-8')  # doctest: +SKIP
    """
    if not others:
        return page(payload(result))
    return comparison_page(comparison([own.result if isinstance(own, Course) else own for own in (result, *others)]))


def page(data: Mapping[str, Any], *, live: bool = False) -> str:
    """Return the page that shows what `shadho.report.payload.payload` returned.

    Parameters
    ----------
    data : mapping
    live : bool, default False
        Whether the page fetches newer data from where it came from, as the dashboard's does.
    """
    return _document('page.html', [*_SCRIPTS, *_LIVE * live], data, "; connect-src 'self'" * live)


def comparison_page(data: Mapping[str, Any]) -> str:
    """Return the page that shows what `shadho.report.comparison.comparison` returned."""
    return _document('compare.html', _COMPARISON, data)


def searches_page(found: Mapping[str, SearchResult]) -> str:
    """Return a page that lists searches by their files, with a link to the page of each; it needs no script."""
    rows = [
        f'<tr><td><input type="checkbox" name="search" value="{html.escape(path)}" aria-label="compare"> '
        f'<a href="?{html.escape(urlencode({"search": path}))}">{html.escape(printable(result.exp_key))}</a></td>'
        + ''.join(f'<td class="number">{html.escape(printable(fact))}</td>' for fact in _told(result, path))
        + '</tr>'
        for path, result in found.items()
    ]
    parts = {
        'style': _file('page.css'),
        'rows': '\n'.join(rows),
        'note': '' if rows else 'No file here holds a search.',
    }
    return re.sub(r'\{\{(\w+)\}\}', lambda match: parts[match[1]], _file('searches.html'))


def _told(result: SearchResult, path: str) -> list[str]:
    best = '-' if result.best is None else f'{result.loss_name} {format_loss(result.best.loss)}'
    return [f'{len(result):,}', best, format_seconds(result.elapsed), result.stopped, Path(path).name]


def _document(template: str, scripts: Sequence[str], data: Mapping[str, Any], policy: str = '') -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ConfigurationError('a report needs plotly, which is not installed: pip install plotly') from error
    script = '\n'.join(map(_file, scripts))
    parts = {
        'policy': _policy(get_plotlyjs(), script) + policy,
        'title': html.escape(str(data['title'])),
        'style': _file('page.css'),
        'plotly': _packed_plotly(),
        'script': script,
        'data': packed(data),
    }
    # All at once: what was put in is not looked at again.
    return re.sub(r'\{\{(\w+)\}\}', lambda match: parts[match[1]], _file(template))


def packed(data: Mapping[str, Any]) -> str:
    """Write data as JSON, deflated, in the alphabet of Base64: no text in it can end the element that it stands in.

    That takes less than half the space. `unpack.js` reads it.
    """
    return _deflated(json.dumps(data, allow_nan=False, separators=(',', ':')))


def _deflated(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode())).decode()


@cache
def _packed_plotly() -> str:
    from plotly.offline import get_plotlyjs

    return _deflated(get_plotlyjs())


def _policy(*scripts: str) -> str:
    """Return a content security policy: these scripts run and no others, and nothing is loaded from anywhere.

    WebGL's shaders are compiled from texts by plotly.js, for which it needs 'unsafe-eval'.
    """
    hashes = ' '.join(f"'sha256-{base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()}'" for own in scripts)
    return (
        f"default-src 'none'; script-src {hashes} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _file(name: str) -> str:
    return (resources.files('shadho.report') / 'page' / name).read_text(encoding='utf-8')
