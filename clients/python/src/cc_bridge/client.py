"""The connection of a client: its life, its requests, and its runs."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from cc_bridge.address import DEFAULT_URL, parse_address
from cc_bridge.connection import Connection, Target, open_connection
from cc_bridge.errors import BridgeError, ClosedError, NoAnswerError
from cc_bridge.machine import Machine
from cc_bridge.options import Options, tls_context
from cc_bridge.question_callbacks import QuestionCallbacks
from cc_bridge.run_buffer import RunBuffer
from cc_bridge.task import ClientTask
from cc_bridge.token import FROM_ENVIRONMENT, FromEnvironment, Token, find_token
from cc_bridge.view import OnSlow, View

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from cc_bridge import fields
    from cc_bridge.question_callbacks import SendAnswer
    from cc_bridge.questions import QuestionCallback
    from cc_bridge.results import Greeting
    from cc_bridge.run_buffer import Item

LOG = logging.getLogger("cc_bridge")


class Client:
    """The base of :class:`~cc_bridge.bridge.Bridge`, which has a method for each request."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str | Token | FromEnvironment | None = FROM_ENVIRONMENT,
        ca: str | Path | None = None,
        options: Options | None = None,
        on_question: QuestionCallback | None = None,
    ) -> None:
        address = parse_address(url)
        if isinstance(token, FromEnvironment):
            token = find_token()
        elif isinstance(token, str):
            token = Token(token)
        tls = tls_context(ca) if address.is_tls else None
        self.options = options or Options()
        self._target = Target(address, token, tls, self.options)
        self._ca = ca
        self._on_question = on_question
        self._machine = Machine()
        self._task: ClientTask | None = None
        self._greeting: Greeting | None = None
        if token is not None and not address.is_tls and not address.is_loopback:
            LOG.warning("the token travels unencrypted to %s; use wss://", address.host)

    def __repr__(self) -> str:
        return f"Bridge({str(self._target.address)!r})"

    @property
    def greeting(self) -> Greeting:
        """The greeting of the first connection: version, capabilities and limits."""
        if self._greeting is None:
            raise ClosedError("the client is not connected; use it with `async with`")
        return self._greeting

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise RuntimeError("a Bridge is used once; make a new one")
        connection = await self._first_connection()
        self._greeting = connection.greeting
        self._task = ClientTask(self._target, self._machine, connection)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._task is not None:
            await self._task.close()

    async def _first_connection(self) -> Connection:
        """Connect. If the bridge asks for a pause that ends in time, wait and try again."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            try:
                return await open_connection(self._target)
            except BridgeError as error:
                pause = error.retry_after
                late = loop.time() - began + (pause or 0.0) >= self.options.give_up
                if pause is None or late or not error.is_transient:
                    raise
            await asyncio.sleep(max(pause, self.options.first_delay))

    async def request(self, method: str, params: Mapping[str, Any]) -> fields.Json:
        """Send a request of any method but ``execute`` and ``attach``. Return its result.

        After a lost connection the request is repeated. Raises :class:`RpcError` if the bridge
        refuses it, :class:`NoAnswerError` if no answer arrives in time, :class:`GaveUpError` if no
        reconnect succeeds, and :class:`ClosedError` if the client is closed.
        """
        self._require_open()
        future: asyncio.Future[fields.Json] = asyncio.get_running_loop().create_future()

        def answered(outcome: fields.Json | BridgeError) -> None:
            if future.done():
                return
            if isinstance(outcome, BridgeError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        request_id = self._machine.request(method, params, answered)
        seconds = self.options.answer_timeout
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            text = f"the bridge did not answer {method!r} within {seconds:g} s"
            raise NoAnswerError(text) from None
        finally:
            # A request that nobody waits for is not sent any more.
            self._machine.requests.remove(request_id)

    def _require_open(self) -> None:
        if self._task is None or not self._task.is_running:
            raise ClosedError("the client is not connected; use it with `async with`")

    def _open_view(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        offset: int,
        on_slow: OnSlow,
        on_question: QuestionCallback | None,
        send_answer: SendAnswer,
    ) -> tuple[View, asyncio.Event]:
        """Queue an execute or attach. Return its view, and the event that says when to read it."""
        self._require_open()
        buffer = RunBuffer(skips=on_slow == "skip")
        view = View(params["executionId"], buffer, offset=offset, on_slow=on_slow)
        wake = asyncio.Event()
        callback = on_question or self._on_question
        callbacks = callback and QuestionCallbacks(
            callback, send_answer, lambda error: self._machine.views.end(view, error)
        )

        def arrived(item: Item) -> None:
            wake.set()
            if callbacks is not None:
                callbacks.handle(item)

        buffer.on_item = arrived
        self._machine.views.open(view, method, params)
        return view, wake
