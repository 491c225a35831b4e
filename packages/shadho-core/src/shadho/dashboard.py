"""The page of a search, live on this machine while the search runs; and of several, a list and a comparison.

Only the files of searches are read: the processes that run them do not notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from shadho import plugins
from shadho.errors import ConfigurationError, ShadhoError, StorageError
from shadho.report.comparison import comparison
from shadho.report.document import comparison_page, page, searches_page
from shadho.report.payload import payload
from shadho.report.recorded import load_result, look_up, open_recorded
from shadho.result import SearchResult
from shadho.streams import usable_streams

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ['Dashboard', 'Searches', 'serve']

_EVERY = 1.0
"""Seconds between two looks at the file,"""

_SHARE = 0.2
"""or more, so that at most this share of a core is spent on drawing."""

_COOKIE = 'shadho-token'
_HEADERS = {
    'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff', 'Referrer-Policy': 'no-referrer',
    'X-Frame-Options': 'DENY', 'Cross-Origin-Resource-Policy': 'same-origin',
}  # fmt: skip


class Dashboard:
    """What is shown of a search, computed anew when it has changed and somebody looks.

    Parameters
    ----------
    path : str
        The file of the search.

    Raises
    ------
    StorageError
        When it holds no search.
    """

    def __init__(self, path: str) -> None:
        self._storage = open_recorded(path)
        self._position = 0
        self._seen: tuple[Any, ...] = ()
        self._looked = self._next_look = 0.0
        self._lock = threading.Lock()
        self.version = 0
        self.data: Mapping[str, Any] = {}
        self.look()

    def look(self) -> int:
        """Look at the file, unless that was done a moment ago; return the number of what is to be shown now."""
        with self._lock:
            if time.monotonic() >= self._next_look:
                self._look()
            return self.version

    def _look(self) -> None:
        begun = self._looked = time.monotonic()
        for position, _ in self._storage.read(after=self._position):
            self._position = position
        seen = self._position, self._storage.writer()
        if seen != self._seen:
            self.version += 1
            self.data = {**payload(load_result(self._storage)), 'version': str(self.version)}
            self._seen = seen
        self._next_look = begun + max(_EVERY, (time.monotonic() - begun) / _SHARE)

    async def changes(self) -> AsyncIterator[str]:
        """Yield an event whenever there is something new to be shown, as server-sent events are written."""
        known = 0
        while True:
            try:
                version = await asyncio.to_thread(self.look)
            except StorageError as error:  # the file was removed, or is half copied
                yield f'event: trouble\ndata: {json.dumps(str(error))}\n\n'
            else:
                yield f'data: {version}\n\n' if version != known else ': nothing new\n\n'
                known = version
            await asyncio.sleep(_EVERY)

    def show(self) -> str:
        """Return the page, of the file as it is now, however long drawing takes: who opens it waits for that."""
        with self._lock, contextlib.suppress(StorageError):  # its events tell of that
            if time.monotonic() >= self._looked + _EVERY:
                self._look()
        return page(self.data, live=True)


class Searches:
    """The searches that are shown: one, several, or those in a folder, whichever these are when somebody looks.

    Parameters
    ----------
    paths : sequence of str
        Files of searches, or one folder.

    Raises
    ------
    StorageError
        When one of the files holds no search, or there is no such folder.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._folder = Path(paths[0]) if len(paths) == 1 and Path(paths[0]).is_dir() else None
        self._files = [] if self._folder else list(paths)
        self._boards: dict[str, Dashboard] = {}
        self._lock = threading.Lock()
        self.is_single = len(self._files) == 1
        for path in self._files:
            self.board(path)

    def paths(self) -> list[str]:
        """Return the files that are, or may be, of searches."""
        if self._folder is None:
            return self._files
        suffixes = {suffix for cls in plugins.load().classes('storage').values() for suffix in cls.suffixes}
        try:
            return sorted(str(path) for path in self._folder.iterdir() if path.suffix in suffixes and path.is_file())
        except OSError as error:
            raise StorageError(f'the folder {str(self._folder)!r} cannot be read: {error.strerror}') from None

    def board(self, path: str) -> Dashboard:
        """Return what is shown of one of them, which is read when somebody first asks for it; LookupError for others."""
        if path not in self.paths():
            raise LookupError(path)
        with self._lock:
            if path not in self._boards:
                self._boards[path] = Dashboard(path)
            return self._boards[path]

    def results(self, paths: Iterable[str] | None = None) -> dict[str, SearchResult]:
        """Return the searches of some of the files, or of all; files that hold none are left out."""
        known = self.paths()
        found = {}
        for path in known if paths is None else [path for path in paths if path in known]:
            with contextlib.suppress(ShadhoError):
                found[path] = look_up(path)
        return found

    def list(self) -> str:
        """Return a page that lists the searches."""
        return searches_page(self.results())

    def comparison(self, paths: Iterable[str]) -> str:
        """Return a page that compares some of the searches; LookupError where none of them is known."""
        found = list(self.results(dict.fromkeys(paths)).values())
        if not found:
            raise LookupError
        return comparison_page(comparison(found))

    def app(self, token: str | None, hosts: Collection[str]) -> Starlette:
        """Return the web application.

        Parameters
        ----------
        token : str or None
            What a request must know.
        hosts : collection of str
            By which names it may be asked for, so that no other site's name can be bent to its address; any if empty.
        """
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.middleware.base import BaseHTTPMiddleware
        from starlette.middleware.gzip import GZipMiddleware
        from starlette.routing import Route

        middleware = [Middleware(BaseHTTPMiddleware, dispatch=_guard(token, hosts)), Middleware(GZipMiddleware)]
        routes = [
            Route('/', self._page if self.is_single else self._list),
            Route('/data', self._data),
            Route('/events', self._events),
            Route('/compare', self._compare),
        ]
        return Starlette(routes=routes, middleware=middleware)

    async def _asked(self, request: Request) -> Dashboard:
        """Return what is shown of the search that a request asks for."""
        path = self._files[0] if self.is_single else request.query_params.get('search', '')
        with _not_found():
            return await asyncio.to_thread(self.board, path)

    async def _list(self, request: Request) -> Response:
        from starlette.responses import HTMLResponse

        if 'search' in request.query_params:
            return await self._page(request)
        return HTMLResponse(await asyncio.to_thread(self.list))

    async def _page(self, request: Request) -> Response:
        from starlette.responses import HTMLResponse

        board = await self._asked(request)
        return HTMLResponse(await asyncio.to_thread(board.show))

    async def _compare(self, request: Request) -> Response:
        from starlette.responses import HTMLResponse

        with _not_found():
            return HTMLResponse(await asyncio.to_thread(self.comparison, request.query_params.getlist('search')))

    async def _data(self, request: Request) -> Response:
        from starlette.responses import Response

        board = await self._asked(request)
        text = await asyncio.to_thread(json.dumps, board.data, allow_nan=False)
        return Response(text, media_type='application/json')

    async def _events(self, request: Request) -> Response:
        from starlette.responses import StreamingResponse

        board = await self._asked(request)
        return StreamingResponse(board.changes(), media_type='text/event-stream')


@contextlib.contextmanager
def _not_found() -> Iterator[None]:
    """Answer that there is no such search, or why it cannot be shown."""
    from starlette.exceptions import HTTPException

    try:
        yield
    except LookupError:
        raise HTTPException(404, 'There is no such search.') from None
    except (StorageError, ConfigurationError) as error:
        raise HTTPException(409, str(error)) from None


_Proceed: TypeAlias = 'Callable[[Request], Awaitable[Response]]'


def _guard(token: str | None, hosts: Collection[str]) -> Callable[[Request, _Proceed], Awaitable[Response]]:
    """Return a filter of requests, which also says to browsers what they may do."""
    from starlette.responses import PlainTextResponse, RedirectResponse

    async def dispatch(request: Request, proceed: _Proceed) -> Response:
        given = request.query_params.get('token')
        answer: Response
        if hosts and request.url.hostname not in hosts:
            answer = PlainTextResponse('This dashboard is not known by that name.\n', 400)
        elif token is None or _same(token, request.cookies.get(_COOKIE)):
            answer = await proceed(request)
        elif _same(token, given):  # from now on in a cookie, out of sight
            answer = RedirectResponse(request.url.path)
            answer.set_cookie(
                _COOKIE, token, httponly=True, samesite='lax'
            )  # 'strict' is not sent where a link led here
        else:
            answer = PlainTextResponse('This dashboard needs its token: open the address that was printed.\n', 403)
        answer.headers.update(_HEADERS)
        return answer

    return dispatch


def _same(token: str, given: str | None) -> bool:
    return given is not None and hmac.compare_digest(token.encode(), given.encode())


def serve(
    paths: str | Sequence[str],
    host: str = '127.0.0.1',
    port: int = 0,
    *,
    token: bool | None = None,
    ready: Callable[[str], None] = print,
) -> None:
    """Show searches on a web page until Ctrl-C, or SIGTERM.

    Parameters
    ----------
    paths : str or sequence of str
        The file of a search, such as ``'svm.db'``, files of several, or a folder with such files.
    host : str, default '127.0.0.1'
        The address to listen at; by default, only this machine can connect.
    port : int, default 0
        0 is any that is free.
    token : bool, optional
        Whether who opens the page must know a token, which is part of the address that is told; by default whenever
        other machines can connect.
    ready : callable
        Is told the address of the page once it can be opened.

    Raises
    ------
    StorageError
        When a file holds no search.
    ConfigurationError
        When it cannot listen on the address, which may be taken, or the address would be open to anybody, or a library is missing.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise ConfigurationError(
            'the dashboard needs starlette and uvicorn, which are not installed: pip install plotly starlette uvicorn'
        ) from error
    is_local = _is_loopback(host)
    if token is False and not is_local:
        raise ConfigurationError(
            f'host={host!r} lets other machines connect, for which a token is needed; leave token out, or listen at 127.0.0.1'
        )
    secret = secrets.token_urlsafe(24) if token or not is_local else None
    searches = Searches([paths] if isinstance(paths, str) else paths)
    with usable_streams(), _listening(host, port) as listener:
        shown = f'[{host}]' if ':' in host else host
        if host in ('0.0.0.0', '::'):
            shown = socket.gethostname()
        address = f'http://{shown}:{listener.getsockname()[1]}/' + (f'?token={secret}' if secret else '')
        hosts = {'127.0.0.1', 'localhost', '::1', host} if is_local else ()  # with a token any name will do
        config = uvicorn.Config(
            searches.app(secret, hosts), log_level='warning', access_log=False, timeout_graceful_shutdown=1, lifespan='off',
            server_header=False,
        )  # fmt: skip
        ready(address)
        with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is how this ends
            uvicorn.Server(config).run(sockets=[listener])


def _is_loopback(host: str) -> bool:
    if host == 'localhost':
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens, so that the address is known before anything is served."""
    try:
        family = socket.AF_INET6 if ':' in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason: object = error
        if isinstance(error, OSError) and error.errno:  # negative for a host that is not known
            reason = os.strerror(error.errno) if error.errno > 0 else error.strerror
        raise ConfigurationError(f'cannot listen on {host}:{port}: {reason}; give another --port or --host') from error
