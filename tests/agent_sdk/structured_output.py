"""output_format: the answer is an object that has the form of a JSON schema."""

from common import main, result, run

SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "integer"}, "why": {"type": "string"}},
    "required": ["answer"],
}


async def check():
    messages = await run(
        '@tool StructuredOutput {"answer": 42, "why": "it is"}',
        output_format={"type": "json_schema", "schema": SCHEMA},
    )
    end = result(messages)
    assert end.subtype == "success", end
    assert end.structured_output == {"answer": 42, "why": "it is"}, end


main(check)
