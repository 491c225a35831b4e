"""``shadho completion``: what makes a shell complete ``shadho``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ['completion']

_PLACES = {
    'bash': 'shadho completion bash > ~/.local/share/bash-completion/completions/shadho',
    'zsh': 'shadho completion zsh > "${fpath[1]}/_shadho"',
    'fish': 'shadho completion fish > ~/.config/fish/completions/shadho.fish',
}


@click.command(
    'completion', epilog='\b\n' + '\n'.join(['Where shells look for it:', *[f'  {line}' for line in _PLACES.values()]])
)
@click.argument('shell', type=click.Choice(list(_PLACES)))
def completion(shell: str) -> None:
    """Print a script that makes a SHELL complete commands, options and names of plugins."""
    found = get_completion_class(shell)
    assert found is not None
    root = click.get_current_context().find_root()
    click.echo(found(root.command, {}, 'shadho', '_SHADHO_COMPLETE').source())
