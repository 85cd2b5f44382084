"""Messages of a bridge, for tests."""

import json
import zlib
from typing import Any

from cc_bridge.machine import Machine
from cc_bridge.run_buffer import Item, RunBuffer
from cc_bridge.view import OnSlow, View

ID = "11111111-1111-4111-8111-111111111111"
OTHER_ID = "22222222-2222-4222-8222-222222222222"


def status(state: str = "running", execution_id: str = ID, **members: object) -> dict[str, Any]:
    """Return a whole status object."""
    return {
        "executionId": execution_id,
        "state": state,
        "reason": None,
        "error": None,
        "exitCode": None,
        "outputBytes": 0,
        "keptFrom": 0,
        "crc32": None,
        "sha256": None,
        "createdAt": "2026-01-01T00:00:00Z",
        "startedAt": None,
        "endedAt": None,
        "durationMs": None,
        "queuePosition": None,
        "activity": None,
        "stalled": False,
        "principal": None,
        "workspace": "default",
        "lane": None,
        "conversation": None,
        "continues": None,
        "continuedBy": None,
        "notBefore": None,
        "model": None,
        "usage": None,
        "costUsd": None,
        "structuredOutput": None,
        "permissionDenials": [],
        "questions": [],
        "questionsOpen": 0,
        "restarts": 0,
        "noiseLines": 0,
        "warnings": [],
        "stderrTail": "",
        "metadata": {},
        "webhook": None,
        **members,
    }


def notification(method: str, **params: object) -> str:
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": params})


def output(offset: int, content: str, execution_id: str = ID) -> str:
    return notification(
        "output", type="stdout", executionId=execution_id, offset=offset, content=content
    )


def update(state: str = "running", execution_id: str = ID, **members: object) -> str:
    params = status(state, execution_id, **members)
    return notification("statusUpdate", status=state.upper(), elapsedMs=5, **params)


def ended(text: str, execution_id: str = ID, **members: object) -> str:
    """Return the terminal status of an execution whose output is `text`."""
    content = text.encode()
    digest = {"outputBytes": len(content), "crc32": f"{zlib.crc32(content):08x}", "exitCode": 0}
    return update("completed", execution_id, **{**digest, **members})


def asked(question_id: str = "q1", **members: object) -> dict[str, Any]:
    """Return a whole question object."""
    return {
        "questionId": question_id,
        "kind": "permission",
        "tool": "Bash",
        "displayName": "Bash",
        "title": "make",
        "description": None,
        "input": {"command": "make"},
        "inputBytes": 18,
        "suggestions": ["Bash(make)"],
        "agentId": None,
        "askedAt": "2026-01-01T00:00:00Z",
        "expiresAt": None,
        **members,
    }


def question(question_id: str = "q1", **members: object) -> str:
    return notification("question", executionId=ID, question=asked(question_id, **members))


def closed(question_id: str = "q1", decision: str = "allow") -> str:
    """Return the end of a question by an answer."""
    return notification(
        "questionClosed",
        executionId=ID,
        questionId=question_id,
        closedBy="answer",
        decision=decision,
        principal="ann",
        closedAt="2026-01-01T00:00:01Z",
    )


def listing(*question_ids: str, opened: int | None = None) -> dict[str, Any]:
    """Return the members of a status that lists these questions."""
    names = ("questionId", "kind", "tool", "title", "askedAt", "expiresAt")
    listed = [{name: asked(one)[name] for name in names} for one in question_ids]
    return {"questions": listed, "questionsOpen": len(listed) if opened is None else opened}


def result(request_id: object, value: object) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "result": value})


def error(request_id: object, code: int, reason: str, **data: object) -> str:
    body = {"code": code, "message": f"refused: {reason}", "data": {"reason": reason, **data}}
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "error": body})


class Played:
    """A machine with one view, whose messages a test plays."""

    def __init__(
        self,
        method: str = "execute",
        *,
        offset: int = 0,
        on_slow: OnSlow = "wait",
        limit: int = 1_000_000,
        **params: object,
    ) -> None:
        self.machine = Machine()
        self.machine.connected(1_000_000)
        self.view = View(
            ID, RunBuffer(skips=on_slow == "skip", limit=limit), offset=offset, on_slow=on_slow
        )
        self.machine.views.open(self.view, method, {"executionId": ID, **params})

    def sent(self) -> list[dict[str, Any]]:
        """Return the requests that the machine sends now."""
        requests = []
        while (text := self.machine.next_request()) is not None:
            requests.append(json.loads(text))
        return requests

    def accept(self) -> None:
        """Answer the request that opens the view."""
        [*_, request] = self.sent()
        self.machine.message(result(request["id"], status()))

    def play(self, *messages: str) -> None:
        for message in messages:
            self.machine.message(message)

    def read(self) -> list[Item]:
        """Return the items that wait for the run."""
        items = []
        while (item := self.view.buffer.pop()) is not None:
            items.append(item)
        return items
