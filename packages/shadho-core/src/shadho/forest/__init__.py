"""From a search space to a forest of trees without conditions."""

from shadho.forest.forest import Forest
from shadho.forest.tree import Dimension, Leaf, Path, Tree

__all__ = ['Dimension', 'Forest', 'Leaf', 'Path', 'Tree']
