"""From a search space to a forest of trees without conditions."""

from shadho.forest.forest import Forest
from shadho.forest.tree import Dimension, Leaf, Path, Tree, sizes_of, snap
from shadho.forest.visited import Visited

__all__ = ['Dimension', 'Forest', 'Leaf', 'Path', 'Tree', 'Visited', 'sizes_of', 'snap']
