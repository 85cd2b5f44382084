"""Tries to use both services from the box, at every address and with every disguise.

Usage: probe.py FILE, a JSON object with these members:

  names     host names of the services and of the TLS proxy
  addresses more addresses, such as those of the host
  ports     ports that speak HTTP; "tls": ports that speak TLS
  victim    the id of an execution of somebody else
  token     a valid token, or null: it is sent only where a claim to own it must not help
  open      targets "ADDRESS:PORT" that other machines reach, where a valid token would be welcome
  public    the public name of the services

The last line of the output is a JSON object: what accepted connections, the statuses of all answers by their number, and
the requests that had an answer below 400.
"""

import concurrent.futures
import json
import socket
import ssl
import sys
import uuid

PATIENCE = 4
TLS = ssl._create_unverified_context()


def addresses(names):
    """The addresses of these names, of this container and of its gateway, and some of loopback."""
    found = {"127.0.0.1", "127.0.0.2", "127.7.7.7", "::1", "::ffff:127.0.0.1"}
    for name in [*names, socket.gethostname(), "host.docker.internal"]:
        try:
            found.update(info[4][0] for info in socket.getaddrinfo(name, None))
        except OSError:
            pass
    for line in open("/proc/net/route").read().splitlines()[1:]:
        fields = line.split()
        if fields[1] == "00000000":
            found.add(socket.inet_ntoa(bytes.fromhex(fields[2])[::-1]))
    try:
        for line in open("/proc/net/if_inet6"):
            found.add(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(line.split()[0])))
    except OSError:
        pass
    return sorted(address for address in found if not address.startswith("fe80"))


def connect(address, port, tls):
    connection = socket.create_connection((address, port), timeout=PATIENCE)
    return TLS.wrap_socket(connection) if tls else connection


def status(target, method, path, headers, body):
    """The status of the answer to one request, or the name of the error."""
    address, port, tls = target
    lines = [f"{method} {path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    text = "\r\n".join(lines) + "\r\n\r\n" + (body or "")
    try:
        with connect(address, port, tls) as connection:
            connection.sendall(text.encode())
            answer = connection.recv(4096)
        return int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else repr(answer[:40])
    except (OSError, IndexError, ValueError) as error:
        return type(error).__name__


def requests(victim):
    """Method, path, headers and body of everything that a client may ask. Those that matter most are each seventh."""
    execution = f"/v1/executions/{victim}"
    prompt = json.dumps({"prompt": "@say reached"})
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    initialize = {"jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "probe", "version": "0"}}}
    yield "PUT", f"/v1/executions/{uuid.uuid4()}", {}, prompt
    for path in ["/", "/metrics", "/v1/me", "/v1/limits", f"{execution}?follow=true", f"{execution}/events"]:
        yield "GET", path, {}, None
    yield "GET", "/v1/executions", {}, None
    for action in ["pause", "resume", "cancel?ifUnviewedForMs=0", "cancel?ifUnknown=burn", "share", "input?offset=0&eof=true"]:
        yield "POST", f"{execution}/{action}", {}, "{}"
    yield "GET", "/ws", upgrade, None
    yield "GET", "/ws/mcp", upgrade, None
    for path in ["/ws", "/ws/mcp"]:
        yield "GET", path, upgrade | {"Sec-WebSocket-Protocol": "ccb.v1, ccb.bearer.TOKEN"}, None
    yield "GET", execution, {}, None
    yield "DELETE", execution, {}, None
    yield "OPTIONS", "/v1/executions", {"Access-Control-Request-Method": "POST"}, None
    yield "POST", f"{execution}/cancel", {}, None
    yield "POST", "/v1/executions", {}, prompt
    yield "GET", f"{execution}/output", {}, None
    for path in ["/v1/tickets", "/v1/tickets/redeem", "/ws-ticket"]:
        yield "POST", path, {}, json.dumps({"ticket": "A" * 43}) if "redeem" in path else "{}"
    for method in ["PUT", "DELETE"]:
        yield method, "/v1/tickets/session", {"Authorization": "Bearer ccbr_" + "A" * 43}, None
    yield "POST", "/mcp", {"Accept": "application/json, text/event-stream"}, json.dumps(initialize)


def disguises(public, gateway, token):
    """Headers that a client on this machine, on another one, or behind a proxy would send."""
    yield {"Host": "localhost"}
    for host in ["claude-api:8002", "bridge:8003", public, "evil.example"]:
        yield {"Host": host}
    yield {"Host": public, "Origin": f"https://{public}"}
    yield {"Host": "localhost", "Origin": "https://evil.example"}
    wrong = {"Authorization": "Bearer ccb_" + "A" * 43}
    right = {"Authorization": f"Bearer {token}"} if token else {}
    for secret in [wrong, right] if token else [wrong]:
        yield {"Host": "localhost"} | secret
        for client in ["127.0.0.1", "192.0.2.7", gateway, "::1", "192.0.2.7, 127.0.0.1", "not an address"]:
            yield {"Host": public, "X-Forwarded-For": client} | secret
        yield {"Host": public, "Forwarded": "for=192.0.2.7", "X-Real-IP": "192.0.2.7"} | secret


def main():
    asked = json.load(open(sys.argv[1]))
    every = addresses(asked["names"]) + asked["addresses"]
    targets = [(address, port, tls) for address in every for tls, ports in [(False, asked["ports"]), (True, asked["tls"])] for port in ports]
    gateway = next((line.split()[2] for line in open("/proc/net/route") if line.split()[1] == "00000000"), "0100007F")
    gateway = socket.inet_ntoa(bytes.fromhex(gateway)[::-1])

    def accepts(target):
        try:
            connect(*target).close()
            return True
        except OSError:
            return False

    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        reached = [target for target, good in zip(targets, pool.map(accepts, targets)) if good]
        jobs = []
        for target in reached:
            is_open = f"{target[0]}:{target[1]}" in asked["open"]
            token = None if is_open else asked["token"]
            for n, headers in enumerate(disguises(asked["public"], gateway, token)):
                for m, (method, path, more, body) in enumerate(requests(asked["victim"])):
                    # Every request in some disguises, and some requests in every disguise.
                    # The public page and preflight requests need no token.
                    if (n % 5 and m % 7) or (is_open and (path == "/" or method == "OPTIONS")):
                        continue
                    more = {name: value.replace("TOKEN", token or "ccb_" + "B" * 43) for name, value in more.items()}
                    jobs.append((target, method, path, headers | more, body))
        statuses = list(pool.map(lambda job: status(*job), jobs))
    counts, passed = {}, []
    for job, answer in zip(jobs, statuses):
        counts[str(answer)] = counts.get(str(answer), 0) + 1
        if not (isinstance(answer, int) and 400 <= answer < 600):
            passed.append([f"{job[0][0]}:{job[0][1]}", job[1], job[2], sorted(job[3]), answer])
    print(json.dumps({"reached": [f"{address}:{port}" for address, port, _ in reached], "statuses": counts, "passed": passed[:20]}))


main()
