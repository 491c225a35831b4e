"""Random integers below bounds of any size, as the number of trees may exceed 64 bits."""

from __future__ import annotations

import numpy as np

__all__ = ['below']


def below(rng: np.random.Generator, count: int) -> int:
    """Draw an integer below `count`, which may exceed 64 bits."""
    if count < 2**63:
        return int(rng.integers(count))
    size = (count.bit_length() + 64) // 8 + 1  # 64 bits beyond the bound keep the bias below 2**-64
    return int.from_bytes(rng.bytes(size), 'little') * count >> (8 * size)
