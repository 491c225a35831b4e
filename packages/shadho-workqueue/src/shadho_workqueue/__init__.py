"""SHADHO's backend for many machines: trials on every worker that can reach the driver."""

from __future__ import annotations

import click

from shadho import hookimpl
from shadho.backends import Backend
from shadho_workqueue.driver.backend import WorkQueue

__all__ = ['WorkQueue']


@hookimpl
def shadho_register_backends() -> list[type[Backend]]:
    return [WorkQueue]


@hookimpl
def shadho_register_commands(cli: click.Group) -> None:
    from shadho_workqueue.install import install
    from shadho_workqueue.worker.command import worker

    for name, command in (('worker', worker), ('install', install)):
        group = cli.commands[name]
        assert isinstance(group, click.Group)
        group.add_command(command)
