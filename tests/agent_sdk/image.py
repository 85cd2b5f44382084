"""An image in a message reaches the model."""

import hashlib

from common import main, run, success

# One red pixel.
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAA"
    "AABJRU5ErkJggg=="
)


async def check():
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    text = {"type": "text", "text": "@images"}
    messages = await run([text, {"type": "image", "source": source}])
    digest = hashlib.sha256(PNG.encode()).hexdigest()
    expected = f"image/png chars={len(PNG)} sha256={digest}"
    assert success(messages) == expected, (messages, expected)


main(check)
