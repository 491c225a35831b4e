import numpy as np

from shadho import spaces
from shadho.forest import Forest
from shadho.samplers.learning import Table

x = spaces.uniform(0, 1)


def test_a_table_has_the_columns_of_a_tree_before_it_has_a_point_of_it():
    forest = Forest({'exclusive': True, 'a': {'x': x}, 'b': {'y': x, 'z': x, 'w': x}})
    table = Table()
    table.add(forest.tree(0), np.array([0.5]), 1.0)
    columns = table.columns_of(forest.tree(1))
    assert np.isnan(table.points[:, columns]).tolist() == [[True, True, True]]
