"""Executes a prompt with ``onDisconnect: "cancel"``, reconnects once, and then dies.

usage: policy.py URL PROMPT

Prints the id, then `reconnected`, and dies without closing when a line arrives on stdin.
"""

import asyncio
import os
import sys

from cc_bridge import Bridge, Options, Reconnected

FAST = Options(first_delay=0.01, max_delay=0.1)


async def main(url: str, prompt: str) -> None:
    async with Bridge(url, token=None, options=FAST) as bridge:
        run = await bridge.execute(prompt, on_disconnect="cancel")
        print(run.id, flush=True)
        async for event in run.events():
            if isinstance(event, Reconnected):
                break
        print("reconnected", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        os._exit(0)


asyncio.run(main(*sys.argv[1:]))
