"""``shadho space``: a search space as a picture."""

from __future__ import annotations

import click

from shadho.cli.common import as_json, reporting_errors

__all__ = ['space']


@click.command('space')
@click.argument('place', metavar='SPACE')
@as_json
def space(place: str, as_json: bool) -> None:
    """Show a search space: what is nested in what, how many trees it falls apart into, and how many parameters there are.

    SPACE says where it is: module:NAME, or file.py:NAME.
    """
    from shadho.cli.run import found_at
    from shadho.forest import Forest
    from shadho.spaces.picture import picture
    from shadho.spaces.spec import to_json
    from shadho.words import counted, printable

    with reporting_errors():
        given = found_at('SPACE', place)
        forest = Forest(given)
        if as_json:
            click.echo(to_json(given, indent=2))
            return
        click.echo('\n'.join(map(printable, picture(given).splitlines())))
    click.echo(f'\n{counted(forest.count, "tree")}, {counted(len(forest.leaves), "parameter")}')
