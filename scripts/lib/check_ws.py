"""One prompt over each WebSocket address given, with the messages' order checked. Usage: check_ws.py URL...

CCB_TOKEN_FILE is the file of a token, and CCB_CA a certificate to trust for wss://, if they are set.
"""

import json
import os
import ssl
import sys

from websockets.sync.client import connect

PROMPT = "python3 -c \"print('RESULT:::' + str(24 * 7))\""


def access(url):
    """The options of a connection with this machine's token and certificate."""
    options = {}
    if token := os.environ.get("CCB_TOKEN_FILE"):
        options["additional_headers"] = {"Authorization": "Bearer " + open(token).read().strip()}
    if url.startswith("wss:"):
        options["ssl"] = ssl.create_default_context(cafile=os.environ.get("CCB_CA"))
    return options


def run(url):
    with connect(url, open_timeout=10, close_timeout=5, **access(url)) as socket:
        hello = json.loads(socket.recv(timeout=10))
        assert hello["method"] == "connected" and hello["params"]["sessionId"], hello
        request = {"jsonrpc": "2.0", "id": 1, "method": "execute", "params": {"prompt": PROMPT}}
        socket.send(json.dumps(request))
        answer = json.loads(socket.recv(timeout=30))
        assert answer.get("id") == 1 and "result" in answer, answer
        execution, text = answer["result"]["executionId"], ""
        while True:
            message = json.loads(socket.recv(timeout=60))
            params = message["params"]
            if params.get("executionId") != execution:
                continue
            if message["method"] == "output":
                assert params["offset"] == len(text.encode()), params
                text += params["content"]
            elif message["method"] == "statusUpdate" and params["status"] not in ("QUEUED", "RUNNING", "PAUSED", "RESUMED"):
                break
        assert params["status"] == "COMPLETED" and params["exitCode"] == 0, params
        assert params["outputBytes"] == len(text.encode()), params
        assert "RESULT:::168" in text.split(), text


for address in sys.argv[1:]:
    run(address)
    print("ok", address)
