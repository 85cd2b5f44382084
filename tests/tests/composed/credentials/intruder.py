"""Poses as `credentials` at the control port of claude-api, again and again, until a file appears.

Usage: intruder.py STOP_FILE

The last line of the output is a JSON object:

  tries     connections that were tried
  accepted  connections that the kernel accepted
  received  everything that claude-api sent to this program
  bound     whether this program could listen on that port
"""

import json
import os
import socket
import sys
import time

PORT = 8006
HELLO = {"type": "hello", "version": 1, "credential": {"state": "present", "kind": "apiKey", "fingerprint": "0"}, "upstream": "http://127.0.0.1:1"}
# For how long the other side may think about an answer.
PATIENCE = 0.3
LIMIT = 150


def bound():
    for host in ["0.0.0.0", "127.0.0.1", "127.0.0.2", socket.gethostbyname(socket.gethostname())]:
        try:
            with socket.socket() as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                listener.bind((host, PORT))
                listener.listen()
                return True
        except OSError:
            pass
    return False


def main():
    report = {"tries": 0, "accepted": 0, "received": [], "bound": False}
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline and not os.path.exists(sys.argv[1]):
        for host in ["claude-api", "127.0.0.1", "127.0.0.2"]:
            report["tries"] += 1
            try:
                with socket.create_connection((host, PORT), timeout=PATIENCE) as connection:
                    report["accepted"] += 1
                    connection.sendall((json.dumps(HELLO) + "\n").encode())
                    received = connection.recv(65536)
                    if received:
                        report["received"].append(received.decode(errors="replace")[:200])
            except OSError:
                pass
        report["bound"] = report["bound"] or bound()
    print(json.dumps(report))


main()
