"""Reports as files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from shadho.errors import ConfigurationError
from shadho.report import curves, history, pictures
from shadho.report.course import Course
from shadho.report.document import to_html
from shadho.result import SearchResult

__all__ = ['write_page', 'write_pictures']

_PICTURES: dict[str, Callable[[Any], Any]] = {
    'history': history.plot_history,
    'curves': curves.plot_curves,
    'trees': pictures.plot_trees,
    'importance': pictures.plot_importance,
    'slice': pictures.plot_slice,
    'contour': pictures.plot_contour,
    'parallel': pictures.plot_parallel_coordinates,
    'timeline': pictures.plot_timeline,
}


def write_page(path: Path, result: SearchResult | Course, *others: SearchResult) -> Path:
    """Write the page of a search, or of several to compare, and return where.

    Raises
    ------
    ConfigurationError
        When plotly is missing, or the file cannot be written.
    """
    text = to_html(result, *others)
    try:
        path.write_text(text, encoding='utf-8')
    except OSError as error:
        raise ConfigurationError(f'the report cannot be written to {str(path)!r}: {error.strerror}') from None
    return path


def write_pictures(result: SearchResult | Course, path: Path) -> Iterator[Path]:
    """Write the pictures that the search has trials enough for, beside `path`, and yield where each is.

    Raises
    ------
    ConfigurationError
        When matplotlib is missing, or a file cannot be written.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ConfigurationError('pictures need matplotlib, which is not installed: pip install matplotlib') from error
    course = Course.of(result)
    plt.switch_backend('agg')  # there may be no screen
    for name, draw in _PICTURES.items():
        try:
            ax = draw(course)
        except ConfigurationError:  # too few trials for this one
            plt.close('all')
            continue
        place = path.with_name(f'{path.stem}-{name}.png')
        try:
            ax.figure.savefig(place, dpi=150)
        except OSError as error:
            raise ConfigurationError(f'a picture cannot be written to {str(place)!r}: {error.strerror}') from None
        finally:
            plt.close(ax.figure)
        yield place
