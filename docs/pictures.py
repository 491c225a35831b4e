"""Makes the pictures of the README from a search of about two minutes: ``python docs/pictures.py``.

It leaves ``panel.svg``, the live panel after two thirds of the search, and ``report.png``, the top of its report, in
``docs/_static``. Needs ``pip install scikit-learn pillow``, the extra ``shadho-core[report]``, shadho-local, and Chromium.
"""

from __future__ import annotations

import io
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from shadho import ComputeClass, Shadho, spaces
from shadho.cli import cli
from shadho.live.panel import PanelDisplay
from shadho_local import Local

STATIC = Path(__file__).parent / '_static'
SECONDS = 120.0
SLOTS = [
    ComputeClass('large', slots=1, resources={'cores': 2}),
    ComputeClass('small', slots=2, resources={'cores': 1}),
]

SPACE = {
    'exclusive': True,
    'svm': {'C': spaces.log10_uniform(-2, 3), 'gamma': spaces.log10_uniform(-5, 0)},
    'boosting': {
        'learning_rate': spaces.log10_uniform(-3, 0),
        'max_leaf_nodes': spaces.randint(4, 64),
        'max_iter': spaces.randint(10, 100),
    },
    'forest': {'n_estimators': spaces.randint(20, 300), 'max_features': spaces.uniform(0.05, 1.0)},
}


def objective(params: dict[str, Any]) -> dict[str, float]:
    """Return the cross-validated error of a classifier of handwritten digits."""
    import os

    from sklearn.datasets import load_digits
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.model_selection import cross_val_score
    from sklearn.svm import SVC

    images, digits = load_digits(return_X_y=True)
    [(model, own)] = params.items()
    if model == 'svm':
        classifier = SVC(**own)
    elif model == 'boosting':
        classifier = HistGradientBoostingClassifier(**own, early_stopping=False, random_state=0)
    else:
        classifier = RandomForestClassifier(**own, n_jobs=int(os.environ['OMP_NUM_THREADS']), random_state=0)
    accuracy = cross_val_score(classifier, images, digits, cv=3).mean()
    return {'loss': 1 - accuracy, 'accuracy': accuracy}


class Photograph(PanelDisplay):
    """The live panel, of which one picture is taken."""

    def __init__(self) -> None:
        super().__init__(Console(record=True, width=100, height=40, file=io.StringIO(), force_terminal=True))
        self.taken = False

    def tick(self) -> None:
        if not self.taken and self.info.now() - self.begun > SECONDS * 2 / 3:
            self.taken = True
            self.console.print(self.panel())
            self.console.save_svg(str(STATIC / 'panel.svg'), title='python digits.py')


def main() -> None:
    """Run the search, and take the pictures."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        storage = Path(folder) / 'digits.db'
        Shadho(
            'digits', objective, SPACE, timeout=SECONDS, seed=0, backend=Local(classes=SLOTS), storage=storage,
            display=False, plugins=[Photograph()],
        ).run()  # fmt: skip
        page, picture = storage.with_suffix('.html'), Path(folder) / 'report.png'
        cli(['report', str(storage), '--output', str(page)], standalone_mode=False)
        chromium = ['chromium', '--headless', '--no-sandbox', '--hide-scrollbars', '--virtual-time-budget=20000']
        subprocess.run(
            [*chromium, '--window-size=1400,1000', f'--screenshot={picture}', page.as_uri()],
            check=True, capture_output=True,
        )  # fmt: skip
        image = Image.open(picture).convert('RGB').quantize(128)
        image.save(STATIC / 'report.png', optimize=True)


if __name__ == '__main__':
    main()
