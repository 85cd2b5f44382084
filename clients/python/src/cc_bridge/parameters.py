"""The parameters of ``execute`` (docs/protocol.md, "Body" and "Request parameters")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class ExecuteOptions(TypedDict, total=False):
    """The optional parameters of :meth:`Bridge.execute`. None is the same as absent."""

    prompt_mode: Literal["verbatim", "commands"] | None
    format: Literal["text", "events"] | None
    lane: str | None
    model: str | None
    system_prompt: str | None
    append_system_prompt: str | None
    allowed_tools: Sequence[str] | None
    disallowed_tools: Sequence[str] | None
    permission_mode: str | None
    permission_prompts: Literal["deny", "ask"] | None
    max_turns: int | None
    max_budget_usd: float | None
    conversation: str | None
    continues: str | None
    on_interrupt: Literal["none", "continue"] | None
    on_usage_limit: Literal["none", "wait"] | None
    workspace: str | None
    env: Mapping[str, str] | None
    idle_timeout_seconds: float | None
    deadline_seconds: float | None
    question_timeout_seconds: float | None
    input: Literal["none", "stream"] | None
    metadata: Mapping[str, str] | None
    traceparent: str | None
    tracestate: str | None
    webhook: Mapping[str, Any] | None
    fallback_model: str | None
    effort: str | None
    betas: Sequence[str] | None
    thinking: Literal["adaptive", "disabled"] | None
    thinking_display: str | None
    max_thinking_tokens: int | None
    task_budget: int | None
    json_schema: Mapping[str, Any] | None
    tools: Sequence[str] | None
    include_partial_messages: bool | None
    include_hook_events: bool | None
    replay_user_messages: bool | None
    fork_conversation: bool | None
    resume_at: str | None
    resume_drops_turn: str | None
    agents: Mapping[str, Any] | None
    settings: Mapping[str, Any] | None
    input_idle_seconds: float | None
    on_disconnect: Literal["continue", "cancel"] | None
    on_slow: Literal["wait", "skip"] | None


def camel(name: str) -> str:
    """Return the name of a field in the protocol, for example ``maxTurns`` for ``max_turns``."""
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def execute_params(
    execution_id: str, prompt: str, options: Mapping[str, object]
) -> dict[str, object]:
    """Return the params of ``execute``. Raises :class:`TypeError` for an unknown option."""
    unknown = options.keys() - ExecuteOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"execute has no option {sorted(unknown)[0]!r}")
    given = {camel(name): plain(value) for name, value in options.items() if value is not None}
    return {"executionId": execution_id, "prompt": prompt, **given}


def plain(value: object) -> object:
    """Return a tuple as a list, and any other value unchanged."""
    return list(value) if isinstance(value, tuple | set | frozenset) else value
