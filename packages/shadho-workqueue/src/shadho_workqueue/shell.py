"""What the shell of a task runs on the machine of its worker; the driver writes it."""

from __future__ import annotations

from shadho_worker.task import COMMAND, OUTCOME

__all__ = ['VARIABLE', 'shell_command']

VARIABLE = 'SHADHO_WORKER'
"""In the environment of a worker's tasks: port and token of the process beside it."""


def shell_command(mark: str) -> str:
    """Return what the engine runs for a trial, under workers of ours and plain ones.

    Parameters
    ----------
    mark : str
        A setting of a variable, by which the trial is found among the tasks of a worker.
    """
    # No double quotes and no backslashes, which would have to be escaped in the manager's reports.
    connect = (
        f'exec 3<>/dev/tcp/127.0.0.1/${{{VARIABLE}%%:*}} && echo ${VARIABLE} $PWD >&3 && read <&3 && echo $(<{OUTCOME})'
    )
    # When the process beside has gone, the engine's worker goes in a moment, and must not take another trial till then.
    connect = f'IFS=; set -f; {connect} || sleep 5'
    # The engine's worker makes the shell the leader of a group, unless the shell was faster to start. Without that
    # group, it would kill nobody and wait for this shell for ever, deaf to all else.
    lead = 'lead=; kill -0 -$$ 2>&- || lead=$(command -v setsid)'
    run = f"if [ ${VARIABLE} ]; then exec $lead bash -c '{connect}'; else exec $lead {COMMAND}; fi"
    return f'export {mark}; {lead}; {run}'
