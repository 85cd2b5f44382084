"""A bridge on a free port of loopback, with faults. It keeps the rules of docs/protocol.md."""

import asyncio
import json
import ssl
from http import HTTPStatus
from types import TracebackType
from typing import Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from fake_session import CutError, Json, Plan, Session


class FakeBridge:
    """The server. It notes what clients have sent."""

    def __init__(self, plan: Plan | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.plan = plan or Plan()
        self.requests: list[Json] = []
        self.bodies: dict[str, str] = {}
        """The body of each accepted execution, by its id."""
        self.handshakes: list[Request] = []
        self.sessions = 0
        self.closes: list[int | None] = []
        """The close codes that clients have sent."""
        self.cancelled: set[str] = set()
        self.release = asyncio.Event()
        self.waits = False
        """Whether the execution has asked its question."""
        self.answers: list[Json] = []
        self.answered = asyncio.Event()
        self.decision: str | None = None
        self.open_sockets: set[ServerConnection] = set()
        self._tls = tls
        self._server: Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._session,
            "127.0.0.1",
            0,
            ssl=self._tls,
            process_request=self._handshake,
            compression=None,
            ping_interval=None,
            close_timeout=0.2,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for socket in list(self.open_sockets):
            socket.transport.abort()
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = next(iter(self._server.sockets)).getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"{'ws' if self._tls is None else 'wss'}://127.0.0.1:{self.port}/ws"

    def methods(self) -> list[str]:
        return [request["method"] for request in self.requests]

    def cut_all(self) -> None:
        for socket in list(self.open_sockets):
            socket.transport.abort()

    def _handshake(self, connection: ServerConnection, request: Request) -> Response | None:
        self.handshakes.append(request)
        if not self.plan.refusals:
            return None
        code, headers = self.plan.refusals.pop(0)
        # A careless server, which repeats what it got.
        detail = f"because of {request.headers.get('Authorization', 'nothing')}"
        response = connection.respond(
            HTTPStatus(code), json.dumps({"type": "some-type", "detail": detail})
        )
        response.headers.update(headers)
        return response

    async def _session(self, socket: ServerConnection) -> None:
        self.sessions += 1
        self.open_sockets.add(socket)
        session = Session(self, socket, self.plan.cuts.pop(0) if self.plan.cuts else None)
        try:
            await session.run()
        except CutError:
            pass
        except ConnectionClosed:
            self.closes.append(socket.close_code)
        finally:
            self.open_sockets.discard(socket)
            for view in session.views.values():
                view.cancel()


__all__ = ["FakeBridge", "Plan"]
