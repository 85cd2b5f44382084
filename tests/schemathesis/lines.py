"""Tells schemathesis how to write the media type of input, lines of JSON."""

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(_context, value):
    """Returns the generated text as it is, well formed or not."""
    return str(value).encode("utf-8", "surrogatepass")
