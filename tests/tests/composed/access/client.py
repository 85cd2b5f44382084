"""One prompt over wss:// with Python's standard library alone, from another machine.

Usage: client.py HOST PORT CA_FILE TOKEN_FILE. Prints a JSON object: the address that the connection came from, and the
output and the status of the execution.
"""

import base64
import json
import os
import socket
import ssl
import struct
import sys


def read(stream, count):
    data = b""
    while len(data) < count:
        part = stream.recv(count - len(data))
        if not part:
            raise EOFError("the bridge has closed the connection")
        data += part
    return data


def frame(stream):
    """The opcode and the payload of the next frame (RFC 6455, section 5.2)."""
    first, length = read(stream, 2)
    if length == 126:
        (length,) = struct.unpack("!H", read(stream, 2))
    elif length == 127:
        (length,) = struct.unpack("!Q", read(stream, 8))
    return first & 15, read(stream, length)


def send(stream, opcode, payload):
    mask = os.urandom(4)
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else struct.pack("!BH", 0x80 | 126, len(payload))
    masked = bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))
    stream.sendall(bytes([0x80 | opcode]) + length + mask + masked)


def main(host, port, ca, token):
    context = ssl.create_default_context(cafile=ca)
    stream = context.wrap_socket(socket.create_connection((host, int(port)), timeout=60), server_hostname=host)
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        "GET /ws HTTP/1.1",
        f"Host: {host}:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Protocol: ccb.v1",
        f"Authorization: Bearer {open(token).read().strip()}",
    ]
    stream.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += read(stream, 1)
    assert head.startswith(b"HTTP/1.1 101 "), head
    request = {"jsonrpc": "2.0", "id": 1, "method": "execute", "params": {"prompt": "print(6 * 7)"}}
    output = ""
    while True:
        opcode, payload = frame(stream)
        if opcode == 9:
            send(stream, 10, payload)
            continue
        message = json.loads(payload)
        if message.get("method") == "connected":
            send(stream, 1, json.dumps(request).encode())
        elif message.get("method") == "output":
            output += message["params"]["content"]
        elif message.get("method") == "statusUpdate" and message["params"]["endedAt"]:
            break
        assert "error" not in message, message
    print(json.dumps({"address": stream.getsockname()[0], "output": output, "status": message["params"]["status"]}))


main(*sys.argv[1:])
