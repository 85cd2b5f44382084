"""query(): one prompt, the text of the answer, the result, and the arguments of the options."""

from claude_agent_sdk import ResultError, StreamEvent
from common import init, main, run, success, texts


async def check():
    messages = await run("@say hello from the service")
    assert success(messages) == "hello from the service", messages
    assert texts(messages) == ["hello from the service"], messages
    assert init(messages)["claude_code_version"] == "2.1.329", messages

    # The model computes nothing: the number shows that a tool ran on the service.
    messages = await run("python3 -c 'print(6 * 7)'", allowed_tools=["Bash"])
    assert success(messages) == "42", messages

    # Each word `MARK-...` is in the request that reached the model.
    messages = await run(
        "@marks",
        system_prompt="You are MARK-system.",
        model="claude-sonnet-4-5",
        max_turns=3,
        tools=["Read", "Grep"],
        disallowed_tools=["Grep"],
        include_partial_messages=True,
    )
    assert success(messages) == "MARK-system", messages
    assert init(messages)["model"] == "claude-sonnet-4-5", messages
    assert init(messages)["tools"] == ["Read"], messages
    assert any(isinstance(message, StreamEvent) for message in messages), messages

    preset = {"type": "preset", "preset": "claude_code", "append": "You are MARK-appended."}
    messages = await run("@marks", system_prompt=preset)
    assert success(messages) == "MARK-appended", messages

    # An error of the model is an error of the result, as with a local CLI.
    try:
        messages = await run("@refuse")
    except ResultError as error:
        assert "Invalid API key" in str(error), repr(error)
    else:
        raise AssertionError(f"no error: {messages}")


main(check)
