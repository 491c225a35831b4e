"""What type checkers must refuse: an ignored error that is none would be an error itself."""

from __future__ import annotations

from shadho import ComputeClass, Search, Shadho, Shado, Trial, spaces  # type: ignore[attr-defined]
from shadho.samplers import Sampler
from shadho.sklearn import ShadhoSearchCV

Shado()


def loss(params: dict[str, float]) -> float:
    return params['x']


spaces.uniform('0', 1)  # type: ignore[arg-type]
spaces.uniform(0)  # type: ignore[call-arg]
spaces.randint(0, 1.5)  # type: ignore[arg-type]
spaces.unifrom(0, 1)  # type: ignore[attr-defined]
spaces.choice(3)  # type: ignore[arg-type]
spaces.repeat({}, n='3')  # type: ignore[arg-type]

Shadho('typed', 3, {})  # type: ignore[arg-type]
Shadho('typed', loss)  # type: ignore[call-arg]
Shadho('typed', loss, {}, max_task=10)  # type: ignore[call-arg]
Shadho('typed', loss, {}, max_tasks='10')  # type: ignore[arg-type]
Shadho('typed', loss, {}, storage=3)  # type: ignore[arg-type]
Shadho('typed', loss, {}, method=Trial)  # type: ignore[arg-type]
Shadho('typed', lambda: 3.0, {})  # type: ignore[arg-type]

result = Shadho('typed', loss, {}, max_tasks=1).run()
result.best.params  # type: ignore[union-attr]  # there may be no best trial
result.bset  # type: ignore[attr-defined]
for trial in result:
    trial.params = {}  # type: ignore[misc]  # records are frozen
    print(trial.loss + 1)  # type: ignore[operator]  # a trial that failed has none

asked = Search({}).ask()
print(asked.params)  # type: ignore[union-attr]  # nothing may be left to suggest
Search({}).tell('first', 0.5)  # type: ignore[arg-type]
ComputeClass('large', slots='4')  # type: ignore[arg-type]


class Half(Sampler):
    name = 'half'


Half()  # type: ignore[abstract, call-arg]

ShadhoSearchCV(None)  # type: ignore[call-arg]
ShadhoSearchCV(None, {}, n_iter=10)  # type: ignore[call-arg]
ShadhoSearchCV(None, {}, n_trials=10).result_.best.loss  # type: ignore[union-attr]
