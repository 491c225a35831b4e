"""How long a forest of 10^12 trees takes, and how much memory: ``python benchmarks/forest.py``.

The space has twelve exclusive scopes of ten options each, every option with one real number. It is
built and counted; then 1,000 trees are drawn from it, and a random point is decoded in each. The
best of several rounds is printed; memory is traced in a round of its own, as tracing is slow.
"""

from __future__ import annotations

import argparse
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shadho import spaces
from shadho.forest import Forest

Steps = dict[str, float]


def go_through(trees: int, gauge: Callable[[], float]) -> Steps:
    """Take all steps; return by how much each has moved the gauge."""
    moved: Steps = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        before = gauge()
        yield
        moved[name] = gauge() - before

    rng = random.Random(0)
    with step('build the space'):
        space = {
            f'scope {i}': spaces.scope(exclusive=True, **{f'option {j}': spaces.uniform(0, 1) for j in range(10)})
            for i in range(12)
        }
    with step('build and count the forest'):
        forest = Forest(space)
        assert forest.count == 10**12
    with step(f'build {trees:,} trees'):
        grown = [forest.tree(rng.randrange(forest.count)) for _ in range(trees)]
    with step(f'decode {trees:,} random points'):
        for tree in grown:
            tree.decode([rng.random() for _ in range(len(tree))])
    return moved


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--trees', type=int, default=1000)
    parser.add_argument('--rounds', type=int, default=5)
    arguments = parser.parse_args()

    rounds = [go_through(arguments.trees, time.perf_counter) for _ in range(arguments.rounds)]
    seconds = {name: min(moved[name] for moved in rounds) for name in rounds[0]}
    tracemalloc.start()
    memory = go_through(arguments.trees, lambda: tracemalloc.get_traced_memory()[0])
    peak = tracemalloc.get_traced_memory()[1]

    print(f'{"":30} {"milliseconds":>12} {"KiB":>8}')
    for name in seconds:
        print(f'{name:30} {1000 * seconds[name]:12.2f} {memory[name] / 1024:8.0f}')
    print(f'{"total; memory at its peak":30} {1000 * sum(seconds.values()):12.2f} {peak / 1024:8.0f}')


if __name__ == '__main__':
    main()
