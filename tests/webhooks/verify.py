"""Verifies a received webhook with Anthropic's SDK and with the reference library of Standard Webhooks.

Usage: verify.py SECRET, with {"headers": {...}, "body": "..."} as JSON on stdin. Prints the payload as JSON.
"""

import json
import sys

import anthropic
import standardwebhooks

received = json.load(sys.stdin)
headers, body, secret = received["headers"], received["body"], sys.argv[1]

payload = standardwebhooks.Webhook(secret).verify(body, headers)

# The SDK checks the signature, then builds its own kind of event; ours is another kind, which it keeps as it is.
client = anthropic.Anthropic(api_key="unused")
event = client.beta.webhooks.unwrap(body, headers=headers, key=secret)
assert event.type == payload["type"], event

# Both refuse a body with one byte more, and another secret.
for changed_body, changed_secret in [(body + " ", secret), (body, "whsec_" + "A" * 32)]:
    for check in [
        lambda: standardwebhooks.Webhook(changed_secret).verify(changed_body, headers),
        lambda: client.beta.webhooks.unwrap(changed_body, headers=headers, key=changed_secret),
    ]:
        try:
            check()
        except standardwebhooks.WebhookVerificationError:
            continue
        sys.exit("a webhook that is not genuine was accepted")

print(json.dumps(payload))
