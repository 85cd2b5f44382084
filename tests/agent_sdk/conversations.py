"""resume, fork_session, continue_conversation, and a session id of the client's choice."""

import uuid

from common import main, refused, result, run, success


async def check():
    chosen = str(uuid.uuid4())
    first = await run("@say remember MARK-one", session_id=chosen)
    assert result(first).session_id == chosen, first

    # A resumed conversation has the earlier messages, and keeps its id.
    second = await run("@marks\n@say , MARK-two", resume=chosen)
    assert success(second).startswith("MARK-one"), second
    assert result(second).session_id == chosen, second

    # A fork has them too, and an id of its own. The original does not see the fork.
    fork = await run("@marks\n@say , MARK-three", resume=chosen, fork_session=True)
    assert success(fork).startswith("MARK-one MARK-three MARK-two"), fork
    forked = result(fork).session_id
    assert forked != chosen, fork
    third = await run("@marks", resume=chosen)
    assert success(third) == "MARK-one MARK-two", third
    assert "MARK-three" in success(await run("@marks", resume=forked))

    # The newest conversation of the workspace is the fork, which was used last.
    newest = await run("@marks", continue_conversation=True)
    assert result(newest).session_id == forked, newest

    # An unknown conversation is refused with a sentence.
    await refused("@say x", "conversation", resume=str(uuid.uuid4()))


main(check)
