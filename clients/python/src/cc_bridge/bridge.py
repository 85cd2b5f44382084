"""The client of a bridge, which is the entry point of this package."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any, Literal, Unpack
from urllib.parse import quote

from cc_bridge import claude_api, fields
from cc_bridge.client import Client
from cc_bridge.options import tls_context
from cc_bridge.parameters import ExecuteOptions, execute_params
from cc_bridge.questions import (
    Answer,
    AnswerResult,
    Question,
    QuestionCallback,
    answer_result_from,
    question_from,
)
from cc_bridge.results import Events, Me, Page, Share, events_from, me_from, page_from, share_from
from cc_bridge.run import Run
from cc_bridge.status import Status, status_from

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from cc_bridge.view import OnSlow


class Bridge(Client):
    """A client of a bridge over WebSocket.

    Use it with ``async with``, which connects and closes. After a lost connection it reconnects by
    itself, repeats the requests that have no answer, and continues each run at the byte reached.
    The end of the block ends every run of this client with :class:`ClosedError`; the executions
    continue. All methods belong to the event loop of the block.

    ``token`` is found in the environment if it is not given, see :func:`find_token`; None sends
    none. ``ca`` is a PEM file with certificates to trust for ``wss://``, besides those of this
    machine. ``on_question`` answers the questions of every run that has no callback of its own.
    """

    async def execute(
        self,
        prompt: str,
        *,
        execution_id: str | None = None,
        on_question: QuestionCallback | None = None,
        **options: Unpack[ExecuteOptions],
    ) -> Run:
        """Run a prompt, and return when the execution is accepted. It is on disk then.

        The client chooses the ``execution_id`` if none is given. It repeats the request after a
        lost connection, and the prompt runs at most once. To repeat it yourself after an exception,
        give the same id and the same parameters.

        Raises the :class:`RpcError` with which the bridge refuses. If the call is cancelled, the
        execution may still have been accepted: :meth:`cancel` with its id ends it.
        """
        identity = (execution_id or str(uuid.uuid4())).lower()
        params = execute_params(identity, prompt, options)
        on_slow: OnSlow = "skip" if options.get("on_slow") == "skip" else "wait"
        return await self._open("execute", params, 0, on_slow, on_question)

    async def attach(
        self,
        execution_id: str,
        from_offset: int | None = None,
        *,
        on_slow: OnSlow = "wait",
        on_question: QuestionCallback | None = None,
    ) -> Run:
        """View an execution, live or ended, from an offset of its output on.

        Without an offset the run begins at 0, with a gap if 0 is not kept any more. With an offset
        inside a character it begins at the first byte of the character.
        """
        params: fields.Json = {"executionId": execution_id.lower(), "onSlow": on_slow}
        if from_offset is not None:
            params["offset"] = from_offset
        return await self._open("attach", params, from_offset or 0, on_slow, on_question)

    async def _open(
        self,
        method: str,
        params: Mapping[str, Any],
        offset: int,
        on_slow: OnSlow,
        on_question: QuestionCallback | None,
    ) -> Run:
        view, wake = self._open_view(
            method,
            params,
            offset=offset,
            on_slow=on_slow,
            on_question=on_question,
            send_answer=self.answer,
        )
        run = Run(self, self._machine.views, view, wake)
        await run._accepted()
        return run

    async def cancel(self, execution_id: str) -> Status:
        """Cancel an execution: TERM, then KILL for its process tree. Return its status."""
        return await self._control("CANCEL", execution_id)

    async def pause(self, execution_id: str) -> Status:
        """Stop the process tree of an execution. Return its status, which may still be running."""
        return await self._control("PAUSE", execution_id)

    async def resume(self, execution_id: str) -> Status:
        """Continue the process tree of a paused execution. Return its status."""
        return await self._control("RESUME", execution_id)

    async def _control(self, kind: str, execution_id: str) -> Status:
        params = {"type": kind, "executionId": execution_id}
        return status_from(await self.request("control", params))

    async def status(self, execution_id: str) -> Status:
        """Return the present status of an execution."""
        return status_from(await self.request("status", {"executionId": execution_id}))

    async def list(self, limit: int = 50, before: str | None = None) -> Page:
        """Return a page of executions, newest first. ``before`` is ``next`` of the page before."""
        params: fields.Json = {"limit": limit}
        if before is not None:
            params["before"] = before
        return page_from(await self.request("list", params))

    async def executions(self) -> AsyncIterator[Status]:
        """Yield all executions that this client may see, newest first."""
        before = None
        while True:
            page = await self.list(before=before)
            for status in page.executions:
                yield status
            before = page.next
            if before is None:
                return

    async def events(
        self, execution_id: str, offset: int | None = None, max_bytes: int = 524_288
    ) -> Events:
        """Return a part of the CLI's stdout, in whole lines. Continue at ``next_offset``.

        Without an offset the part begins at the oldest byte that is kept.
        """
        params: fields.Json = {"executionId": execution_id, "maxBytes": max_bytes}
        if offset is not None:
            params["offset"] = offset
        return events_from(await self.request("events", params))

    async def input(self, execution_id: str, data: str, *, offset: int, eof: bool = False) -> int:
        """Send lines to the CLI's stdin. Return the count of accepted bytes, the next offset.

        :attr:`Run.input` counts the offset by itself.
        """
        params = {"executionId": execution_id, "offset": offset, "data": data, "eof": eof}
        return fields.integer(await self.request("input", params), "accepted")

    async def share(
        self,
        execution_id: str,
        *,
        role: Literal["view", "control"] = "view",
        expires_seconds: int = 86_400,
    ) -> Share:
        """Make a token that opens this one execution. Only this answer has the token.

        If the connection is lost before the answer, the request is repeated. A share that nobody
        knows may then exist until it expires.
        """
        params = {"executionId": execution_id, "role": role, "expiresSeconds": expires_seconds}
        return share_from(await self.request("share", params))

    async def answer(self, execution_id: str, question_id: str, answer: Answer) -> AnswerResult:
        """Answer a question. The answer is on disk when this returns.

        The same answer again gets the same result. Raises :class:`WrongStateError` if the question
        was closed otherwise: ``data`` has ``closedBy``, ``decision`` and ``principal``.
        """
        params = answer.params(execution_id, question_id)
        return answer_result_from(await self.request("answer", params))

    async def me(self, api_url: str) -> Me:
        """Return the client as claude-api sees it: its principal and role.

        A bridge does not forward this call. So the client calls the claude-api at this address,
        for example ``http://127.0.0.1:8002``, and sends it the token.
        """
        return me_from(await self._get(api_url, "/v1/me"))

    async def question(self, api_url: str, execution_id: str, question_id: str) -> Question:
        """Return a question with its whole input, also after it was closed.

        A message leaves out an input of more than 16 KiB. So the client calls the claude-api at
        this address, as :meth:`me` does. Raises :class:`NotFoundError` without such a question.
        """
        identity = quote(execution_id.lower(), safe="")
        path = f"/v1/executions/{identity}/questions/{quote(question_id, safe='')}"
        return question_from(identity, await self._get(api_url, path))

    async def _get(self, api_url: str, path: str) -> fields.Json:
        tls = tls_context(self._ca) if api_url.startswith("https:") else None
        timeout = self.options.connect_timeout
        call = claude_api.get
        return await asyncio.to_thread(call, api_url, path, self._target.token, tls, timeout)

    async def ping(self) -> None:
        """Return when the bridge has answered a ping."""
        await self.request("ping", {})
