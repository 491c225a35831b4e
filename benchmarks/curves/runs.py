"""One search in simulated time: slots that train what a contender asks for, step by step."""

from __future__ import annotations

import heapq
import math
import time

import attrs
import numpy as np

from .contenders import CONTENDERS, Job
from .models import STEPS
from .problems import MOST, PROBLEMS, Curve, full_seconds, target


@attrs.frozen
class Task:
    """One search."""

    contender: str
    problem: str
    slots: int
    seed: int


@attrs.frozen
class Run:
    """What came of it.

    Attributes
    ----------
    seconds : float
        Simulated, until a trial with a loss of the top 1 % is fully trained; inf where the limit comes first.
    wall : float
        Real seconds of the whole search.
    """

    task: Task
    seconds: float
    wall: float
    error: str = ''


def limit(problem: str, slots: int) -> float:
    """Return the simulated seconds after which a search has missed its target."""
    return MOST * full_seconds(problem) / slots


def run(task: Task) -> Run:
    """Run one search, in a process of its own or not."""
    begun = time.perf_counter()
    try:
        seconds, error = search(task), ''
    except Exception as raised:
        seconds, error = math.nan, f'{type(raised).__name__}: {raised}'
    return Run(task, seconds, time.perf_counter() - begun, error)


def search(task: Task) -> float:
    """Return when the target is reached; what a contender computes takes none of the simulated time."""
    problem, latest, least = PROBLEMS[task.problem], limit(task.problem, task.slots), target(task.problem)
    contender = CONTENDERS[task.contender](problem, task.seed)
    events: list[tuple[float, int, Job, Curve]] = []
    now, idle, number = 0.0, task.slots, 0
    while True:
        while idle and (job := contender.ask(now)) is not None:
            curve = problem.curve(job.params)
            number += 1
            heapq.heappush(events, (now + curve.start + curve.step, number, job, curve))
            idle -= 1
        if not events:
            raise RuntimeError(f'asked for nothing while nothing was running, at {now:,.0f} s')
        now, order, job, curve = heapq.heappop(events)
        if now > latest:
            return math.inf
        job.step += 1
        loss = float(curve.losses[job.step - 1])
        goes_on = contender.report(job, loss, now)
        if job.step == STEPS and curve.final <= least:
            return now
        if goes_on and job.step < STEPS and np.isfinite(loss):
            heapq.heappush(events, (now + curve.step, order, job, curve))
        else:
            idle += 1
