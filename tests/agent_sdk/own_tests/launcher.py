#!/usr/bin/env python3
"""The CLI that the service starts for the SDK's own tests. The file `current` beside it says what
it is:

- {"script": PATH, "environment": {...}}: the stand-in for the CLI that a test wrote;
- {"socket": PATH}: a puppet. It prints what it receives on the socket, and sends what it reads from
  stdin to the socket.
"""

import json
import os
import socket
import sys
import threading


def puppet(path):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    sending = connection.makefile("w", encoding="utf-8")

    def send(value):
        sending.write(json.dumps(value) + "\n")
        sending.flush()

    def read_stdin():
        try:
            for line in sys.stdin:
                send({"line": line})
            send({"end": True})
        except OSError:
            pass  # The test is over.

    threading.Thread(target=read_stdin, daemon=True).start()
    for order in map(json.loads, connection.makefile(encoding="utf-8")):
        if "exit" in order:
            os._exit(order["exit"])
        sys.stdout.write(order["print"] + "\n")
        sys.stdout.flush()
    os._exit(0)


def main():
    if "--version" in sys.argv:
        print("2.1.329 (Claude Code)")
        return
    with open(os.path.join(os.path.dirname(__file__), "current"), encoding="utf-8") as file:
        current = json.load(file)
    if "socket" in current:
        puppet(current["socket"])
    script = current["script"]
    os.execve(script, [script, *sys.argv[1:]], {**os.environ, **current["environment"]})


main()
