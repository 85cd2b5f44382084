"""Runs every program of docs/python.md.

usage: examples.py DOCUMENT URL

The prompts become directives of the stand-in CLI. The operator must allow Bash.
"""

import asyncio
import os
import re
import sys
from pathlib import Path

PROMPTS = {
    '"Say hello"': '"@say hello"',
    '"Say hello, world"': '"@say hello, world"',
    '"Write a book"': '"@say begun\\n@silence 60"',
    '"Say one"': '"@say one"',
    '"Say two"': '"@say two"',
    '"Run make"': """'@ask Bash {"command":"make"}\\n@say done'""",
}
# The last lines of what each program prints, in order; None for one that depends on the run.
EXPECTED = [
    "hello\ncompleted, exit code 0",
    None,
    "completed True",
    "cancelled",
    "['hello', 'hello', 'hello']",
    "one\n\ntwo",
    None,
    "-32003 not_found",
    "hello",
    'Bash: make\nallowed {"command":"make"}\ndone',
]


async def run(program: str, url: str) -> str:
    for prompt, directive in PROMPTS.items():
        program = program.replace(prompt, directive)
    program = program.replace("ws://127.0.0.1:8003/ws", url).replace("Bridge()", f"Bridge({url!r})")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-Werror",
        "-",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONDEVMODE": "1"},
    )
    printed, _ = await process.communicate(program.encode())
    assert process.returncode == 0, f"exit code {process.returncode} of:\n{program}"
    return printed.decode().strip()


async def main(text: str, url: str) -> None:
    programs = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(programs) == len(EXPECTED), f"{len(programs)} programs, {len(EXPECTED)} results"
    unused = [prompt for prompt in PROMPTS if prompt not in text]
    assert not unused, f"the page does not have the prompts {unused}"
    for program, expected in zip(programs, EXPECTED, strict=True):
        printed = await run(program, url)
        assert expected is None or printed.endswith(expected), f"{printed!r} of:\n{program}"
    print(f"{len(programs)} programs")


asyncio.run(main(Path(sys.argv[1]).read_text(encoding="utf-8"), sys.argv[2]))
