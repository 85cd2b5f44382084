"""Questions of an execution, and the answers to them.

An execution with ``permission_prompts="ask"`` asks its clients before it uses a tool that needs a
permission. A callback gets a :class:`Question` and returns an :class:`Answer`. A callback that
returns None leaves the question to other clients.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cc_bridge import fields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Question:
    """A question that waits for an answer."""

    execution_id: str
    question_id: str
    kind: str
    """``permission``, ``choice``, ``plan``, or a word of a later bridge."""
    tool: str
    """The name of the tool that the CLI wants to use."""
    display_name: str | None
    title: str
    """The command, path, address, query, plan or first question, else the description or the tool.

    It may have line feeds and control characters: escape them.
    """
    description: str | None
    """The model's own description of the use, or the CLI's reason to ask."""
    input: fields.Json | None
    """The input of the tool. None if it has more than 16 KiB; :meth:`Bridge.question` reads it."""
    input_bytes: int
    """The size of the input, in bytes of JSON."""
    suggestions: tuple[str, ...]
    """The rules that an answer with ``remember`` can accept, such as ``Bash(git status)``."""
    agent_id: str | None
    """The sub-agent that asks; None in the main conversation."""
    asked_at: str
    expires_at: str | None
    """The time at which the question is denied; None if it waits without a limit."""


@dataclass(frozen=True, slots=True)
class OpenQuestion:
    """An open question in a status: enough to list it, not to decide it."""

    question_id: str
    kind: str
    tool: str
    title: str
    asked_at: str
    expires_at: str | None


@dataclass(frozen=True, slots=True)
class ClosedQuestion:
    """How a question was closed."""

    question_id: str
    closed_by: str | None
    """``answer``, ``timeout``, ``end`` or ``withdrawn``.

    None if the question was closed while the client had no view of the execution. The decision is
    then not known either.
    """
    decision: str | None
    """``allow`` or ``deny``; None if nobody decided."""
    principal: str | None
    """The principal of the person who answered; None without tokens."""
    closed_at: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a question. The first valid answer of any client counts."""

    decision: Literal["allow", "deny"]
    message: str | None = None
    """The reason for a denial, which the model reads."""
    updated_input: Mapping[str, Any] | None = None
    """The input with which the tool runs instead. Only for an allowed permission."""
    answers: Mapping[str, str] | None = None
    """For an allowed choice: the label of an option, or a text, by the text of each question."""
    remember: Sequence[str] = ()
    """Entries of ``suggestions`` that hold for the rest of the execution."""
    interrupt: bool = False
    """Whether the CLI also ends its turn. Only for a denial."""

    @classmethod
    def allow(
        cls,
        *,
        updated_input: Mapping[str, Any] | None = None,
        answers: Mapping[str, str] | None = None,
        remember: Sequence[str] = (),
    ) -> Answer:
        """Return the answer that allows the tool. Without arguments, it runs as it was asked."""
        return cls("allow", updated_input=updated_input, answers=answers, remember=remember)

    @classmethod
    def deny(cls, message: str | None = None, *, interrupt: bool = False) -> Answer:
        """Return the answer that denies the tool, with a reason for the model."""
        return cls("deny", message=message, interrupt=interrupt)

    def params(self, execution_id: str, question_id: str) -> fields.Json:
        """Return the params of the request ``answer``."""
        params: fields.Json = {
            "executionId": execution_id,
            "questionId": question_id,
            "decision": self.decision,
        }
        optional = {
            "message": self.message,
            "updatedInput": self.updated_input,
            "answers": self.answers,
            "remember": [*self.remember] or None,
            "interrupt": self.interrupt or None,
        }
        params.update((name, value) for name, value in optional.items() if value is not None)
        return params


@dataclass(frozen=True, slots=True)
class AnswerResult:
    """The result of an answer that the bridge accepted."""

    question_id: str
    decision: str
    principal: str | None


QuestionCallback = Callable[[Question], Awaitable[Answer | None]]
"""The function that answers questions. Its call is cancelled when the question is closed."""


def question_from(execution_id: str, raw: Mapping[str, Any]) -> Question:
    """Return the question that the member ``question`` of a notification describes."""
    return Question(
        execution_id=execution_id,
        question_id=fields.text(raw, "questionId"),
        kind=fields.text(raw, "kind"),
        tool=fields.text(raw, "tool"),
        display_name=fields.optional_text(raw, "displayName"),
        title=fields.text(raw, "title"),
        description=fields.optional_text(raw, "description"),
        input=fields.optional_object(raw, "input"),
        input_bytes=fields.integer(raw, "inputBytes"),
        suggestions=fields.texts(raw, "suggestions"),
        agent_id=fields.optional_text(raw, "agentId"),
        asked_at=fields.text(raw, "askedAt"),
        expires_at=fields.optional_text(raw, "expiresAt"),
    )


def open_question_from(raw: Mapping[str, Any]) -> OpenQuestion:
    """Return the question that an entry of ``questions`` in a status describes."""
    return OpenQuestion(
        question_id=fields.text(raw, "questionId"),
        kind=fields.text(raw, "kind"),
        tool=fields.text(raw, "tool"),
        title=fields.text(raw, "title"),
        asked_at=fields.text(raw, "askedAt"),
        expires_at=fields.optional_text(raw, "expiresAt"),
    )


def closed_from(raw: Mapping[str, Any]) -> ClosedQuestion:
    """Return how a question was closed, from the notification ``questionClosed``."""
    return ClosedQuestion(
        question_id=fields.text(raw, "questionId"),
        closed_by=fields.text(raw, "closedBy"),
        decision=fields.optional_text(raw, "decision"),
        principal=fields.optional_text(raw, "principal"),
        closed_at=fields.text(raw, "closedAt"),
    )


def answer_result_from(raw: Mapping[str, Any]) -> AnswerResult:
    """Return the result of the request ``answer``."""
    return AnswerResult(
        question_id=fields.text(raw, "questionId"),
        decision=fields.text(raw, "decision"),
        principal=fields.optional_text(raw, "principal"),
    )
