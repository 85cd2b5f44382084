"""Runs a prompt through a proxy that cuts, and prints a JSON object with the result.

usage: cuts.py URL PROMPT
"""

import asyncio
import hashlib
import json
import sys

from cc_bridge import Bridge, Gap, Options, Output, Reconnected

FAST = Options(first_delay=0.01, max_delay=0.2)


async def main(url: str, prompt: str) -> None:
    digest, count, reconnects, gaps = hashlib.sha256(), 0, 0, 0
    async with Bridge(url, token=None, options=FAST) as bridge:
        run = await bridge.execute(prompt)
        print(run.id, flush=True)
        async for event in run.events():
            match event:
                case Output(text=text):
                    content = text.encode()
                    digest.update(content)
                    count += len(content)
                case Gap():
                    gaps += 1
                case Reconnected():
                    reconnects += 1
        status = await run
    result = {
        "state": status.state,
        "check": run.check and run.check.value,
        "bytes": count,
        "sha256": digest.hexdigest(),
        "reconnects": reconnects,
        "gaps": gaps,
    }
    print(json.dumps(result))


asyncio.run(main(*sys.argv[1:]))
