"""Executes prompts one after the other through a proxy that cuts. Prints the id of each.

usage: executes.py URL COUNT
"""

import asyncio
import sys
import uuid

from cc_bridge import Bridge, BridgeError, Options

FAST = Options(first_delay=0.01, max_delay=0.1, connect_timeout=2)


async def execute(url: str, number: int) -> None:
    execution_id = str(uuid.uuid4())
    while True:
        try:
            # A new client for each prompt: its first connection is cut too.
            async with Bridge(url, token=None, options=FAST) as bridge:
                run = await bridge.execute(f"@say answer {number}", execution_id=execution_id)
                text = await run.text()
        except BridgeError as error:
            if not error.is_transient:
                raise
            await asyncio.sleep(0.01)
            continue
        assert text == f"answer {number}", text
        print(execution_id, flush=True)
        return


async def main(url: str, count: str) -> None:
    for number in range(int(count)):
        await execute(url, number)


asyncio.run(main(*sys.argv[1:]))
