"""How the pictures of contests look: a colour for each kind of method, full for ours, hollow and dashed for others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .contenders import CONTENDERS, Shadho

COLOURS = {
    'random': '#8a8a8a', 'sobol': '#b9a44c', 'tpe': '#0072b2', 'rf': '#009e73', 'gp': '#d55e00',
    'cmaes': '#cc79a7', 'pso': '#e69f00', 'hyperopt': '#56b4e9', 'auto': '#111111',
    'optuna-tpe': '#0072b2', 'optuna-cma': '#cc79a7', 'optuna-gp': '#d55e00', 'hyperopt-tpe': '#56b4e9', 'smac': '#009e73',
}  # fmt: skip
"""The same method has the same colour, whose ever it is."""

FAINT = '#e4e4e4'
DARK = '#333333'

HEADING: dict[str, Any] = {'x': 0.008, 'ha': 'left', 'fontsize': 11, 'fontweight': 'bold'}
BASELINE: dict[str, Any] = {'color': '#d4d4d4', 'lw': 5, 'solid_capstyle': 'round', 'zorder': 1}

SETTINGS = {
    'font.size': 9, 'axes.titlesize': 10, 'axes.titleweight': 'bold', 'axes.titlelocation': 'left',
    'axes.spines.top': False, 'axes.spines.right': False, 'axes.edgecolor': '#999999', 'axes.axisbelow': True,
    'axes.labelcolor': DARK, 'text.color': DARK, 'xtick.color': DARK, 'ytick.color': DARK, 'legend.frameon': False,
}  # fmt: skip


def line(name: str) -> dict[str, Any]:
    """Return how a contender's line is drawn."""
    own = issubclass(CONTENDERS[name], Shadho)
    return {'color': COLOURS[name], 'ls': '-' if own else (0, (4, 1.5)), 'lw': 1.8 if own else 1.5}


def dot(name: str) -> dict[str, Any]:
    """Return how a contender's dot is drawn."""
    own = issubclass(CONTENDERS[name], Shadho)
    return {'color': COLOURS[name], 'marker': 'o', 'markerfacecolor': COLOURS[name] if own else 'white', 'ms': 6.5}


def legend(names: Iterable[str]) -> list[Any]:
    """Return what a legend shows of contenders, and of random search."""
    from matplotlib.lines import Line2D

    shown = [Line2D([], [], label=CONTENDERS[name].title, **{**line(name), **dot(name), 'ms': 5}) for name in names]
    return [*shown, Line2D([], [], label='random search', **BASELINE)]


def logarithmic(axis: Any, which: str, few: bool = False) -> None:
    """Make an axis logarithmic, with plain numbers at powers of ten, and unless few are wanted between them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for letter in which:
        axis.set(**{f'{letter}scale': 'log'})
        own = axis.xaxis if letter == 'x' else axis.yaxis
        own.set_major_locator(LogLocator(subs=(1,) if few else (1, 2, 5)))
        own.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
        own.set_minor_formatter(NullFormatter())
