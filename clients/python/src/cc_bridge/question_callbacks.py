"""The calls of a program's callback for the questions of one run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from cc_bridge.backoff import Backoff
from cc_bridge.errors import BridgeError, NoAnswerError, QuestionCallbackError, WrongStateError
from cc_bridge.events import Ended, QuestionAsked, QuestionClosed

if TYPE_CHECKING:
    from cc_bridge.questions import Answer, AnswerResult, Question, QuestionCallback
    from cc_bridge.run_buffer import Item

LOG = logging.getLogger("cc_bridge")
FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS = 0.2, 5.0
"""The shortest and the longest delay before an answer is retried."""

SendAnswer = Callable[[str, str, "Answer"], Awaitable["AnswerResult"]]
"""Sends the answer to a question: the execution, the question, the answer."""


class QuestionCallbacks:
    """Calls the callback once for each question, each in a task of its own.

    The call is cancelled when the question is closed, for example because another client answers
    first, and when the run ends. An exception of the callback ends the run, but not the execution.
    """

    def __init__(
        self, callback: QuestionCallback, send: SendAnswer, fail: Callable[[BridgeError], None]
    ) -> None:
        self._callback = callback
        self._send = send
        self._fail = fail
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def handle(self, item: Item) -> None:
        """Handle an event or the error of the run."""
        match item:
            case QuestionAsked(question):
                task = asyncio.get_running_loop().create_task(self._answer(question))
                self._tasks[question.question_id] = task
            case QuestionClosed(closed):
                if (asked := self._tasks.pop(closed.question_id, None)) is not None:
                    asked.cancel()
            case Ended() | BridgeError():
                self.stop()
            case _:
                pass

    def stop(self) -> None:
        """Cancel all calls."""
        tasks, self._tasks = self._tasks, {}
        for task in tasks.values():
            task.cancel()

    async def _answer(self, question: Question) -> None:
        name = f"{question.tool}: {question.title}"
        try:
            answer = await self._callback(question)
        except Exception as error:  # noqa: BLE001 - any exception of the program is reported
            self._failed(question, f"the callback failed for the question {name!r}: {error}", error)
            return
        try:
            if answer is not None:
                await self._deliver(question, answer)
        except WrongStateError as error:
            LOG.debug("question %s was closed before: %s", question.question_id, error)
        except Exception as error:  # noqa: BLE001 - also an answer of a wrong type
            text = f"the answer to the question {name!r} was not accepted: {error}"
            self._failed(question, text, error)

    async def _deliver(self, question: Question, answer: Answer) -> None:
        """Send an answer until the bridge accepts it, or refuses it for good.

        The same answer again has no further effect. This task is cancelled when the question is
        closed.
        """
        backoff = Backoff(FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS)
        while True:
            try:
                await self._send(question.execution_id, question.question_id, answer)
                return
            except BridgeError as error:
                if not error.is_transient and not isinstance(error, NoAnswerError):
                    raise
                LOG.debug("retrying the answer to %s: %s", question.question_id, error)
                delay = max(backoff.next_delay(), error.retry_after or 0.0)
            await asyncio.sleep(delay)

    def _failed(self, question: Question, text: str, cause: Exception) -> None:
        failure = QuestionCallbackError(text)
        failure.__cause__ = cause
        # This task ends on its own.
        self._tasks.pop(question.question_id, None)
        self._fail(failure)
