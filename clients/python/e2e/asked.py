"""Executes a prompt that asks, and allows its question when a line arrives on stdin.

usage: asked.py URL ID PROMPT

Prints `asked` at each call of the callback, `reconnected` after each cut, and then a JSON object
with the result.
"""

import asyncio
import json
import sys

from cc_bridge import Answer, Bridge, Options, Output, Question, Reconnected

FAST = Options(first_delay=0.01, max_delay=0.2)


async def main(url: str, execution_id: str, prompt: str) -> None:
    calls, reconnects, text = [], 0, ""

    async def ask(question: Question) -> Answer | None:
        calls.append(question.question_id)
        print("asked", flush=True)
        decision = (await asyncio.to_thread(sys.stdin.readline)).strip()
        return Answer.allow() if decision == "allow" else None

    async with Bridge(url, token=None, options=FAST) as bridge:
        run = await bridge.execute(
            prompt, execution_id=execution_id, permission_prompts="ask", on_question=ask
        )
        async for event in run.events():
            match event:
                case Reconnected():
                    reconnects += 1
                    print("reconnected", flush=True)
                case Output(text=piece):
                    text += piece
        status = await run
    result = {
        "state": status.state,
        "check": run.check and run.check.value,
        "text": text,
        "calls": len(calls),
        "reconnects": reconnects,
    }
    print(json.dumps(result))


asyncio.run(main(*sys.argv[1:]))
