"""A session of the fake bridge, and its plan."""

import asyncio
import json
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from samples import status

if TYPE_CHECKING:
    from collections.abc import Callable

    from fake_bridge import FakeBridge

Json = dict[str, Any]


@dataclass
class Plan:
    """The behaviour of a fake bridge."""

    text: str = "hello"
    """The output of every execution."""
    piece: int = 5
    """The size of an output message, in characters."""
    cuts: list[int] = field(default_factory=list)
    """After so many messages each connection in turn is cut. Later ones are not cut."""
    cut_before_answers: int = 0
    """So many executes are accepted, and then the connection is cut instead of an answer."""
    holds: bool = False
    """Whether the output stops after its first piece until `release` is set, or a cancel."""
    refusals: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """The HTTP answers to the first handshakes: a status and headers each."""
    close_code: int | None = None
    """The close code that ends each connection after its first request."""
    kept_from: int = 0
    question: Json | None = None
    """A question that the execution asks before its last piece of output."""
    unstored_answers: int = 0
    """So many answers to the question cannot be stored."""
    invalid_answers: bool = False
    """Whether every answer is refused, because it does not fit the question."""
    heartbeat_ms: int = 15_000


class CutError(Exception):
    """The fake bridge has cut the connection."""


class Session:
    """One WebSocket connection."""

    def __init__(self, fake: "FakeBridge", socket: ServerConnection, cut_after: int | None) -> None:
        self.fake = fake
        self.plan = fake.plan
        self.socket = socket
        self.cut_after = cut_after
        self.views: dict[str, asyncio.Task[None]] = {}

    async def send(self, message: Json) -> None:
        if self.cut_after is not None:
            self.cut_after -= 1
            if self.cut_after < 0:
                self.socket.transport.abort()
                raise CutError
        await self.socket.send(json.dumps({"jsonrpc": "2.0", **message}))

    async def notify(self, method: str, **params: object) -> None:
        await self.send({"method": method, "params": params})

    async def run(self) -> None:
        limits = {"messageBytes": 100_000, "heartbeatMs": self.plan.heartbeat_ms}
        greeting = {"sessionId": "s", "protocol": 1, "version": "1", "capabilities": {}}
        await self.notify("connected", **greeting, limits=limits)
        async for text in self.socket:
            request = json.loads(text)
            self.fake.requests.append(request)
            if self.plan.close_code is not None:
                await self.socket.close(self.plan.close_code, "the token was removed")
            await self.handle(request)
        self.fake.closes.append(self.socket.close_code)

    async def handle(self, request: Json) -> None:
        params, execution = request["params"], request["params"].get("executionId", "")
        handler: Callable[[Json], Json | tuple[int, Json]] | None
        handler = getattr(self, request["method"], None)
        if handler is None:
            return await self.refuse(request, -32601, {"reason": "unknown_method"})
        answer = handler(params)
        if isinstance(answer, tuple):
            return await self.refuse(request, *answer)
        if request["method"] == "execute" and self.plan.cut_before_answers > 0:
            self.plan.cut_before_answers -= 1
            self.socket.transport.abort()
        await self.send({"id": request["id"], "result": answer})
        if request["method"] in ("execute", "attach"):
            self.detach(params)
            offset = params.get("offset") or 0
            self.views[execution] = asyncio.create_task(self.view(execution, offset))
        return None

    async def refuse(self, request: Json, code: int, data: Json) -> None:
        error = {"code": code, "message": f"refused: {data['reason']}", "data": data}
        await self.send({"id": request["id"], "error": error})

    def execute(self, params: Json) -> Json | tuple[int, Json]:
        body = json.dumps(params, sort_keys=True)
        if self.fake.bodies.setdefault(params["executionId"], body) != body:
            return -32009, {"reason": "id_in_use"}
        return status("running", params["executionId"])

    def attach(self, params: Json) -> Json | tuple[int, Json]:
        if "offset" in params and params["offset"] < self.plan.kept_from:
            return -32007, {"reason": "offset_not_kept", "keptFrom": self.plan.kept_from}
        return status("running", params["executionId"])

    def detach(self, params: Json) -> Json:
        view = self.views.pop(params["executionId"], None)
        if view is not None:
            view.cancel()
        return {}

    def control(self, params: Json) -> Json:
        if params["type"] == "CANCEL":
            self.fake.cancelled.add(params["executionId"])
            self.fake.release.set()
        return status("running", params["executionId"])

    def status(self, params: Json) -> Json:
        return status("running", params["executionId"])

    def ping(self, _params: Json) -> Json:
        return {}

    def answer(self, params: Json) -> Json | tuple[int, Json]:
        self.fake.answers.append(params)
        if self.plan.unstored_answers > 0:
            self.plan.unstored_answers -= 1
            return -32005, {"reason": "spool_unwritable"}
        if self.plan.invalid_answers:
            return -32602, {"reason": "invalid_params"}
        decision = self.fake.decision
        if decision not in (None, params["decision"]):
            closed = {"closedBy": "answer", "decision": decision, "principal": None}
            return -32008, {"reason": "wrong_state", "state": "running", **closed}
        self.fake.decision = params["decision"]
        self.fake.answered.set()
        return {
            "questionId": params["questionId"],
            "decision": params["decision"],
            "principal": None,
        }

    async def view(self, execution: str, offset: int) -> None:
        """Send the messages of a view, until the end or a cut."""
        with suppress(CutError, ConnectionClosed):
            await self.play(execution, offset)

    async def play(self, execution: str, offset: int) -> None:
        content = self.plan.text.encode()
        question = self.plan.question
        if question is not None and self.fake.waits and self.fake.decision is None:
            await self.ask(execution, question)
        else:
            await self.update(execution, "running")
        if offset < self.plan.kept_from:
            await self.notify(
                "gap", executionId=execution, **{"from": offset, "to": self.plan.kept_from}
            )
            offset = self.plan.kept_from
        while offset < len(content):
            # A character has at most four bytes.
            rest = content[offset : offset + 4 * self.plan.piece]
            piece = rest.decode(errors="ignore")[: self.plan.piece]
            is_last = offset + len(piece.encode()) == len(content)
            if question is not None and is_last and self.fake.decision is None:
                await self.ask(execution, question)
            common = {"executionId": execution, "type": "stdout"}
            await self.notify("output", **common, offset=offset, content=piece)
            offset += len(piece.encode())
            if self.plan.holds:
                await self.fake.release.wait()
                if execution in self.fake.cancelled:
                    break
        state = "cancelled" if execution in self.fake.cancelled else "completed"
        digest = f"{zlib.crc32(content[:offset]):08x}"
        await self.update(execution, state, outputBytes=offset, crc32=digest)

    async def ask(self, execution: str, question: Json) -> None:
        """Ask, and wait for the answer."""
        self.fake.waits = True
        names = ("questionId", "kind", "tool", "title", "askedAt", "expiresAt")
        listed = {name: question[name] for name in names}
        await self.update(execution, "running", questions=[listed], questionsOpen=1)
        await self.notify("question", executionId=execution, question=question)
        await self.fake.answered.wait()
        await self.notify(
            "questionClosed",
            executionId=execution,
            questionId=question["questionId"],
            closedBy="answer",
            decision=self.fake.decision,
            principal=None,
            closedAt="2026-01-01T00:00:01Z",
        )

    async def update(self, execution: str, state: str, **members: object) -> None:
        params = status(state, execution, **members)
        await self.notify("statusUpdate", status=state.upper(), elapsedMs=1, **params)
