"""An in-process MCP server: the model on the service calls a function of this program."""

from claude_agent_sdk import create_sdk_mcp_server, tool
from common import init, main, run, success, tool_results

calls = []


@tool("add", "Adds two numbers", {"a": int, "b": int})
async def add(arguments):
    calls.append(arguments)
    text = str(arguments["a"] + arguments["b"])
    return {"content": [{"type": "text", "text": text}]}


@tool("fail", "Fails", {})
async def fail(arguments):
    raise ValueError("it never works")


async def check():
    server = create_sdk_mcp_server("calculator", tools=[add, fail])
    messages = await run(
        '@tool mcp__calculator__add {"a": 40, "b": 2}\n@tool mcp__calculator__fail {}\n@say end',
        mcp_servers={"calculator": server},
        allowed_tools=["mcp__calculator__add", "mcp__calculator__fail"],
    )
    assert success(messages).endswith("end"), messages
    assert calls == [{"a": 40, "b": 2}], calls
    (sum, is_error), (failure, failed) = tool_results(messages)
    assert (sum, is_error) == ([{"type": "text", "text": "42"}], False), messages
    assert failed and "it never works" in str(failure), messages
    servers = {server["name"]: server["status"] for server in init(messages)["mcp_servers"]}
    assert servers == {"calculator": "connected"}, servers


main(check)
