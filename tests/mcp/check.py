"""Drives the MCP server with the official Python SDK. Usage: check.py TRANSPORT SCENARIO [ARGUMENT...]

TRANSPORT is `legacy URL` or `modern URL` (streamable HTTP, with the newest protocol version that has sessions, or with the
one that has none), or `stdio CCB`; CCB_URL is the bridge for `stdio`. A scenario prints `ok` as its last line.
"""

import json
import sys
from typing import Any, Literal

import anyio
from mcp import Client, StdioServerParameters
from mcp_types import ElicitResult, Request, Result
from pydantic import TypeAdapter

TASKS = "io.modelcontextprotocol/tasks"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def connect(transport, target, **more):
    if transport == "stdio":
        import os

        target = StdioServerParameters(command=target, args=["mcp"], env={"CCB_URL": os.environ["CCB_URL"]})
    mode = "legacy" if transport == "legacy" else "auto"
    return Client(target, mode=mode, read_timeout_seconds=60, **more)


async def call(client, name, **arguments):
    """The structured content of a call that succeeds."""
    result = await client.call_tool(name, arguments)
    assert not result.is_error, (name, result)
    return result.structured_content


async def refused(client, name, **arguments):
    """The message and the reason of a call that fails."""
    result = await client.call_tool(name, arguments)
    assert result.is_error, (name, result)
    return result.content[0].text, result.structured_content["reason"]


async def until(client, execution, state):
    with anyio.fail_after(20):
        while (await call(client, "status", executionId=execution))["state"] != state:
            await anyio.sleep(0.02)


async def tools(client):
    """Lists and calls every tool."""
    listed = {tool.name for tool in (await client.list_tools()).tools}
    names = {"execute", "start", "wait", "status", "output", "list", "control", "answer"}
    assert listed == names, listed

    result = await client.call_tool("execute", {"prompt": "@say caf\u00e9 \u20ac done"})
    assert not result.is_error and result.content[0].text == "caf\u00e9 \u20ac done", result
    done = result.structured_content
    assert (done["state"], done["reason"], done["exitCode"]) == ("completed", None, 0), done
    assert done["text"] == "caf\u00e9 \u20ac done" and done["verified"] and not done["truncated"], done
    size = len("caf\u00e9 \u20ac done".encode())
    assert done["offset"] == 0 and done["nextOffset"] == done["outputBytes"] == size, done
    first = done["executionId"]

    failed = await client.call_tool("execute", {"prompt": "@say part\n@exit 3"})
    content = failed.structured_content
    assert failed.is_error and failed.content[0].text == "part", failed
    assert (content["state"], content["reason"], content["exitCode"]) == ("failed", "nonzero_exit", 3), content

    text, started = "", await call(client, "start", prompt="@tokens 50\n@silence 0.2\n@tokens 50")
    offset, looks = 0, 0
    while True:
        seen = await call(client, "wait", executionId=started["executionId"], offset=offset, maxSeconds=1)
        assert seen["offset"] == offset, seen
        text, offset, looks = text + seen["text"], seen["nextOffset"], looks + 1
        if seen["ended"]:
            break
    assert seen["state"] == "completed" and offset == seen["outputBytes"] == len(text.encode()), seen
    whole = await call(client, "output", executionId=started["executionId"])
    assert whole["text"] == text and whole["ended"], whole
    middle = await call(client, "output", executionId=started["executionId"], offset=6, maxBytes=10)
    assert middle["text"] == text[6:16] and middle["nextOffset"] == 16, middle

    status = await call(client, "status", executionId=first)
    assert status == done["status"], status
    page = await call(client, "list", limit=2)
    assert page["executions"][0]["executionId"] == started["executionId"] and len(page["executions"]) == 2, page
    older = await call(client, "list", limit=1, before=page["next"])
    assert older["executions"][0]["executionId"] == first, older

    running = (await call(client, "start", prompt="@silence 600"))["executionId"]
    await until(client, running, "running")
    await call(client, "control", executionId=running, action="pause")
    await until(client, running, "paused")
    await call(client, "control", executionId=running, action="resume")
    await until(client, running, "running")
    await call(client, "control", executionId=running, action="cancel")
    ended = await call(client, "wait", executionId=running, maxSeconds=20)
    assert ended["ended"] and ended["state"] == "cancelled", ended

    again = await call(client, "execute", prompt="@say caf\u00e9 \u20ac done", executionId=first)
    assert again["status"] == done["status"], again


async def refusals(client):
    """Refusals have the text and the reason of the WebSocket; the caller compares them."""
    found = {
        "unknown": await refused(client, "status", executionId=UNKNOWN),
        "control": await refused(client, "control", executionId=UNKNOWN, action="pause"),
        "attach": await refused(client, "wait", executionId=UNKNOWN),
        "workspace": await refused(client, "execute", prompt="x", workspace="../up"),
        "blank": await refused(client, "execute", prompt=" "),
        "field": await refused(client, "execute", prompt="x", modle="y"),
        "mode": await refused(client, "execute", prompt="x", permissionMode="bypassPermissions"),
    }
    print(json.dumps(found))
    for name, arguments in [
        ("wait", {"executionId": UNKNOWN, "maxSeconds": 51}),
        ("output", {"executionId": UNKNOWN, "maxBytes": 1}),
        ("control", {"executionId": UNKNOWN, "action": "explode"}),
        ("status", {}),
        ("list", {"limit": 0}),
        ("start", {"prompt": "x", "onDisconnect": "cancel"}),
    ]:
        _, reason = await refused(client, name, **arguments)
        assert reason == "invalid_params", (name, reason)


async def progress(client):
    """A silent execution sends progress, with its activity, and is not given up."""
    seen = []

    async def note(value, _total, message):
        seen.append((value, message))

    result = await client.call_tool("execute", {"prompt": "@tool 2\n@say done"}, progress_callback=note)
    assert not result.is_error, result
    values = [value for value, _ in seen]
    assert values == sorted(set(values)), values
    assert len(values) >= 8, seen
    messages = {message for _, message in seen}
    assert any("Bash" in message for message in messages), messages


ASKING = {"prompt": '@ask Bash {"command": "rm x"}', "permissionPrompts": "ask"}


async def questions(client):
    """A question is in the results, and the tool `answer` answers it."""
    for decision, said in [("allow", "allowed"), ("deny", "denied")]:
        execution = (await call(client, "start", **ASKING))["executionId"]
        with anyio.fail_after(20):
            while not (await call(client, "status", executionId=execution))["questions"]:
                await anyio.sleep(0.02)
        seen = await call(client, "wait", executionId=execution)
        asked = seen["status"]["questions"][0]
        assert asked["input"] == {"command": "rm x"} and not seen["ended"], seen
        chosen = {"executionId": execution, "questionId": asked["questionId"], "decision": decision}
        assert (await call(client, "answer", **chosen))["decision"] == decision
        ended = await call(client, "wait", executionId=execution, maxSeconds=20)
        assert ended["ended"] and ended["text"].startswith(said), ended


FORMS = []


async def fill_in(_context, params):
    """The user of the client: allows the first question, and denies the second."""
    FORMS.append(params)
    decision = "allow" if len(FORMS) == 1 else "deny"
    return ElicitResult(action="accept", content={"decision": decision, "message": "no"})


async def form(client):
    """The user of the client decides with a form, during the call."""
    prompt = ASKING["prompt"] + '\n@ask Bash {"command": "ls"}'
    result = await call(client, "execute", prompt=prompt, permissionPrompts="ask")
    said = result["text"].split("\n")
    assert said[0] == 'allowed {"command":"rm x"}' and said[-2] == "denied no", result
    assert len(FORMS) == 2 and "rm x" in FORMS[0].message, FORMS
    assert FORMS[0].requested_schema["required"] == ["decision"], FORMS[0]


async def cancel(client, path):
    """Cancelling the call cancels the execution."""
    execution = "11111111-1111-4111-8111-111111111111"
    prompt = f"@touch {path}\n@silence 600"
    async with anyio.create_task_group() as group:
        group.start_soon(client.call_tool, "execute", {"prompt": prompt, "executionId": execution})
        with anyio.fail_after(20):
            while not await anyio.Path(path).exists():
                await anyio.sleep(0.02)
        group.cancel_scope.cancel()
    ended = await call(client, "wait", executionId=execution, maxSeconds=20)
    assert ended["state"] == "cancelled", ended


async def resources(client):
    """Lists and reads executions."""
    execution = (await call(client, "execute", prompt="@say read me"))["executionId"]
    templates = {template.uri_template for template in (await client.list_resource_templates()).resource_templates}
    names = ["output", "events", "status"]
    assert templates == {f"execution://{{id}}/{name}" + "{?offset}" * (name != "status") for name in names}, templates
    listed = (await client.list_resources()).resources
    uris = [str(resource.uri) for resource in listed]
    assert uris[:3] == [f"execution://{execution}/{name}" for name in names], uris
    types = [resource.mime_type for resource in listed[:3]]
    assert types == ["text/plain", "application/x-ndjson", "application/json"], types
    output = (await client.read_resource(uris[0])).contents[0]
    assert (output.text, output.mime_type) == ("read me", "text/plain"), output
    rest = (await client.read_resource(f"{uris[0]}?offset=5")).contents[0]
    assert rest.text == "me" and rest.meta["offset"] == 5 and rest.meta["outputBytes"] == 7, rest
    events = (await client.read_resource(uris[1])).contents[0]
    size = len(events.text.encode())
    assert events.mime_type == "application/x-ndjson", events
    assert (events.meta["offset"], events.meta["nextOffset"], events.meta["ended"]) == (0, size, True), events.meta
    lines = events.text.splitlines(keepends=True)
    assert json.loads(lines[-1])["type"] == "result", lines[-1]
    second = len(lines[0].encode())
    later = (await client.read_resource(f"{uris[1]}?offset={second}")).contents[0]
    assert later.text == "".join(lines[1:]) and later.meta["offset"] == second, later
    end = (await client.read_resource(f"{uris[1]}?offset={size}")).contents[0]
    assert end.text == "" and end.meta["nextOffset"] == size and end.meta["ended"], end
    status = (await client.read_resource(uris[2])).contents[0]
    assert json.loads(status.text) == await call(client, "status", executionId=execution)
    for bad, why in [
        ("execution://7/status", "is not a resource"),
        (f"execution://{UNKNOWN}/status", "no execution"),
        (f"execution://{UNKNOWN}/events", "no execution"),
        (f"{uris[1]}?offset=x", "is not a resource"),
        (f"{uris[1]}?offset={size + 1}", f"has {size} bytes of events"),
    ]:
        try:
            await client.read_resource(bad)
        except Exception as error:
            assert why in str(error), error
        else:
            raise AssertionError(bad)


async def leave(client, options):
    """Executes and never returns: the caller kills this process."""
    print("calling", flush=True)
    await client.call_tool("execute", json.loads(options))


async def answer(client, options):
    """Executes and prints the answer; the caller restarts the bridge in between."""
    print("calling", flush=True)
    result = await client.call_tool("execute", json.loads(options))
    assert not result.is_error, result
    print(result.content[0].text, flush=True)


class Ask(Request[dict[str, Any], str]):
    method: str
    params: dict[str, Any]
    name_param = "taskId"


class TaskResult(Result):
    result_type: Literal["task"] = "task"
    task_id: str
    status: str


async def tasks(client):
    """Polls tasks; the caller restarts the bridge in between."""

    async def ask(method, task):
        return await client.session.send_request(Ask(method=method, params={"taskId": task}), TypeAdapter(dict))

    async def until_ended(task):
        with anyio.fail_after(30):
            while (state := await ask("tasks/get", task))["status"] == "working":
                await anyio.sleep(0.05)
            return state

    made = await client.session.call_tool("execute", {"prompt": "@silence 2\n@say from a task"}, allow_claimed=True)
    assert isinstance(made, TaskResult) and made.status == "working", made
    print("restart", flush=True)
    await anyio.to_thread.run_sync(sys.stdin.readline)
    ended = await until_ended(made.task_id)
    assert ended["status"] == "completed" and ended["taskId"] == made.task_id, ended
    assert ended["result"]["content"][0]["text"] == "from a task", ended
    assert ended["result"]["structuredContent"]["executionId"] == made.task_id, ended

    made = await client.session.call_tool("execute", {"prompt": "@exit 3"}, allow_claimed=True)
    ended = await until_ended(made.task_id)
    assert ended["status"] == "completed" and ended["result"]["isError"], ended

    made = await client.session.call_tool("execute", {"prompt": "@silence 600"}, allow_claimed=True)
    await ask("tasks/cancel", made.task_id)
    assert (await until_ended(made.task_id))["status"] == "cancelled"
    try:
        await ask("tasks/get", UNKNOWN)
    except Exception as error:
        assert getattr(error, "code", None) == -32602 or "-32602" in repr(error), repr(error)
    else:
        raise AssertionError("an unknown task")


def task_extension():
    from mcp.client.extension import ClientExtension, ResultClaim

    class Tasks(ClientExtension):
        identifier = TASKS

        def claims(self):
            async def resolve(_result, _context):
                raise AssertionError("claimed results are taken as they are")

            return [ResultClaim(result_type="task", model=TaskResult, resolve=resolve)]

    return Tasks()


async def main(transport, target, name, *arguments):
    more = {"extensions": [task_extension()]} if name == "tasks" else {}
    if name == "form":
        more["elicitation_callback"] = fill_in
    async with connect(transport, target, **more) as client:
        version = client.session.protocol_version
        assert (version < "2026") == (transport == "legacy"), version
        assert client.session.server_info.name == "cc-bridge"
        await globals()[name](client, *arguments)
    print("ok", flush=True)


anyio.run(main, *sys.argv[1:])
