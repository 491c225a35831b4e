"""The page of a search: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

from shadho.errors import ConfigurationError
from shadho.report.course import Course
from shadho.report.payload import payload
from shadho.result import SearchResult

__all__ = ['page', 'to_html']

_SCRIPTS = ('figures.js', 'table.js', 'scatter.js', 'page.js')
_LIVE = ('live.js',)


def to_html(result: SearchResult | Course) -> str:
    """Return the page of a search: interactive figures and a table of all trials, in one file.

    It opens offline, loads nothing, and runs nothing that the search's file may hold.

    Parameters
    ----------
    result : SearchResult

    Raises
    ------
    ConfigurationError
        When plotly is missing.

    Examples
    --------
    >>> from pathlib import Path
    >>> import shadho
    >>> from shadho.report import to_html
    >>> Path('svm.html').write_text(to_html(shadho.load_result('svm.db')), encoding='utf-8')  # doctest: +SKIP
    """
    return page(payload(result))


def page(data: Mapping[str, Any], *, live: bool = False) -> str:
    """Return the page that shows what `shadho.report.payload.payload` returned.

    Parameters
    ----------
    data : mapping
    live : bool, default False
        Whether the page fetches newer data from where it came from, as the dashboard's does.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ConfigurationError('a report needs plotly, which is not installed: pip install plotly') from error
    plotly, script = get_plotlyjs(), '\n'.join(map(_file, [*_SCRIPTS, *_LIVE * live]))
    parts = {
        'policy': _policy(plotly, script) + "; connect-src 'self'" * live,
        'style': _file('page.css'),
        'plotly': plotly,
        'script': script,
        'data': _inert(data),
    }
    # All at once: what was put in is not looked at again.
    return re.sub(r'\{\{(\w+)\}\}', lambda match: parts[match[1]], _file('page.html'))


def _policy(*scripts: str) -> str:
    """Return a content security policy: these scripts run and no others, and nothing is loaded from anywhere.

    WebGL's shaders are compiled from texts by plotly.js, for which it needs 'unsafe-eval'.
    """
    hashes = ' '.join(f"'sha256-{base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()}'" for own in scripts)
    return (
        f"default-src 'none'; script-src {hashes} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _inert(data: Mapping[str, Any]) -> str:
    """Write JSON in which no text can end the element that it stands in, or begin another."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(',', ':'))
    return text.replace('<', '\\u003c').replace('>', '\\u003e').replace('&', '\\u0026')


def _file(name: str) -> str:
    return (resources.files('shadho.report') / 'page' / name).read_text(encoding='utf-8')
