"""The engine's manager, in a process of its own: lines of JSON in, lines of JSON out.

It runs under whichever Python has the engine's bindings, which may be an older one than the driver's
and have none of its packages: so this file needs nothing else. The bindings hold Python's lock
while they wait, and wait in whole seconds; so the driver and the engine take turns, and only the
engine's turns wait.
"""

import inspect
import json
import os
import select
import shutil
import sys
import time
from typing import Any

TURN = 0.25
"""Seconds that the driver has after a result, for its answer, before the engine goes on without it."""

PAUSE = 0.02
"""Seconds between looks at an empty queue, whose wait returns at once."""

LOST = (40, 48)  # forsaken; more attempts than were allowed


def load() -> Any:
    """Return the engine's bindings, by their new name or their old one."""
    try:
        import ndcctools.work_queue as work_queue
    except ImportError:
        import work_queue
    # A folder of theirs that is not needed here, and would stay, as this process ends without its exit handlers.
    shutil.rmtree(getattr(work_queue, 'staging_directory', ''), ignore_errors=True)
    return work_queue


class Manager:
    """The queue, the tasks in it, and the driver at the other end of two pipes."""

    def __init__(self, options: Any, inbox: Any, outbox: Any) -> None:
        self.inbox = inbox
        self.outbox = outbox
        self.wq = load()
        self.tasks: Any = {}  # by the driver's number of the attempt at a trial
        self.attempts: Any = {}  # the other way round: by the engine's number of the task
        self.told = 0  # news of tasks, so far
        self.seen = 0  # news that the driver has answered
        self.looked = 0.0
        self.received: Any = []
        self.queue = self.create(options)
        self.reports = hasattr(self.queue, 'status')
        self.say(say='ready', port=self.queue.port, ssl=self.ssl, reports=self.reports)

    def create(self, options: Any) -> Any:
        arguments = {'port': tuple(options['port']) if isinstance(options['port'], list) else options['port']}
        self.ssl = 'ssl' in inspect.signature(self.wq.WorkQueue.__init__).parameters
        if self.ssl:
            arguments['ssl'] = True
        if options['debug_log']:
            arguments['debug_log'] = options['debug_log']
        queue = self.wq.WorkQueue(**arguments)
        if options['password_file'] and not queue.specify_password_file(options['password_file']):
            raise OSError('the password file {} cannot be read'.format(options['password_file']))
        queue.specify_keepalive_interval(options['keepalive'][0])
        queue.specify_keepalive_timeout(options['keepalive'][1])
        if options['catalog']:  # without one, no name: a named queue tells a public catalog of itself
            host, _, port = options['catalog'].partition(':')
            queue.specify_catalog_server(host, int(port or 9097))
            queue.specify_name(options['name'])
        return queue

    def say(self, **message: Any) -> None:
        self.outbox.write(json.dumps(message).encode() + b'\n')
        self.outbox.flush()

    def tell(self, **news: Any) -> None:
        self.told += 1
        self.say(**news)

    def run(self) -> None:
        while True:
            self.obey()
            self.look()

    def look(self) -> None:
        """Let the engine work until there is news, a second at most."""
        task = self.queue.wait(1)
        if task is not None:
            self.finished(task)
        elif self.queue.empty():
            select.select([self.inbox], [], [], PAUSE)
        self.tell_workers()

    def obey(self) -> None:
        """Do what the driver says; after news, wait a little for its answer."""
        until = time.monotonic() + TURN
        while True:
            left = max(0.0, until - time.monotonic()) if self.seen < self.told else 0.0
            if not select.select([self.inbox], [], [], left)[0]:
                return
            received = os.read(self.inbox, 2**16)
            if not received:
                os._exit(0)  # the driver is gone; its workers wait for the next one
            self.received.append(received)
            if b'\n' not in received:
                continue
            *lines, rest = b''.join(self.received).split(b'\n')
            self.received = [rest]
            for line in lines:
                message = json.loads(line.decode())
                getattr(self, 'do_' + message.pop('do'))(**message)

    def do_wait(self, seen: Any) -> None:
        """The driver knows so much of the news, and has nothing more to say."""
        self.seen = seen

    def do_submit(self, attempt: Any, group: Any, asked: Any) -> None:
        task = self.wq.Task(asked['command'])
        if asked['feature']:
            task.specify_feature(asked['feature'])
        task.specify_cores(asked['cores'])
        task.specify_memory(asked['memory'])
        task.specify_disk(asked['disk'])
        task.specify_gpus(asked['gpus'])
        for local, remote in asked['files']:
            task.specify_file(local, remote, type=self.wq.WORK_QUEUE_INPUT, cache=True)
        for local, remote in asked['files_once']:
            task.specify_file(local, remote, type=self.wq.WORK_QUEUE_INPUT, cache=False)
        for text, remote in asked['buffers']:
            task.specify_buffer(text, remote, cache=False)
        for local, remote in asked['outputs']:
            task.specify_file(local, remote, type=self.wq.WORK_QUEUE_OUTPUT, cache=False)
        task.specify_max_retries(1)
        task._task.try_count = 1  # the engine would try once more, silently, before it counts
        number = self.queue.submit(task)
        self.tasks[attempt] = (task, number, group)
        self.attempts[number] = attempt

    def do_cancel(self, attempt: Any) -> None:
        if attempt in self.tasks:
            _, number, _ = self.tasks.pop(attempt)
            del self.attempts[number]
            self.queue.cancel_by_taskid(number)
            self.queue._task_table.pop(number, None)  # which the bindings forget

    def do_gone(self, group: Any) -> None:
        """No worker of this group is left: what waits for one goes back."""
        for attempt, (_, number, wanted) in list(self.tasks.items()):
            if wanted == group and self.queue.task_state(number) == self.wq.WORK_QUEUE_TASK_READY:
                self.do_cancel(attempt)
                self.tell(say='back', attempt=attempt, host='')

    def do_close(self, shutdown: Any) -> None:
        for attempt in list(self.tasks):
            self.do_cancel(attempt)
        if shutdown:
            self.queue.shutdown_workers(0)
        os._exit(0)  # deleting the queue closes connections, which the end of the process does too

    def finished(self, task: Any) -> None:
        attempt = self.attempts.pop(task.id, None)
        if attempt is None:
            return  # cancelled
        del self.tasks[attempt]
        if task.result in LOST:
            self.tell(say='lost', attempt=attempt, host=task.hostname or '')
        else:
            self.tell(say='done', attempt=attempt, result=task.result, text=task.output or '', host=task.hostname or '')

    def tell_workers(self) -> None:
        """Tell of connected workers, where the bindings can; else the driver asks through the manager's port."""
        if self.reports and time.monotonic() > self.looked + 1.0:
            self.say(say='workers', workers=self.queue.status('workers'))
            self.looked = time.monotonic()


def main() -> None:
    """Serve the driver until it closes its pipe."""
    outbox = os.fdopen(os.dup(1), 'wb')
    os.dup2(2, 1)  # whatever the engine prints is no message
    try:
        manager = Manager(json.loads(sys.argv[1]), 0, outbox)
    except Exception as error:
        outbox.write(json.dumps({'say': 'failed', 'message': str(error)}).encode() + b'\n')
        outbox.flush()
        sys.exit(1)
    manager.run()


if __name__ == '__main__':
    del sys.path[0]  # this file's folder, where names of other modules may be those of standard ones
    main()
