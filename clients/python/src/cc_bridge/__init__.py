"""A Python client for cc-bridge, a service that runs prompts with the Claude CLI.

::

    async with Bridge("ws://127.0.0.1:8003/ws") as bridge:
        run = await bridge.execute("say hello")
        async for text in run:
            print(text, end="", flush=True)
        status = await run

The client reconnects by itself, and yields each byte of the output once. docs/python.md describes
it; docs/protocol.md describes the messages.
"""

from cc_bridge.address import DEFAULT_URL
from cc_bridge.bridge import Bridge
from cc_bridge.errors import (
    BridgeError,
    BusyError,
    CancelledUnansweredError,
    ClosedError,
    ConnectError,
    ForbiddenError,
    FullError,
    GapError,
    GaveUpError,
    IdInUseError,
    InternalError,
    InvalidParamsError,
    InvalidRequestError,
    MethodNotFoundError,
    NoAnswerError,
    NotAllowedError,
    NotAuthorisedError,
    NotFoundError,
    OffsetNotKeptError,
    OutputError,
    ParseError,
    ProtocolError,
    QuestionCallbackError,
    RefusedError,
    RpcError,
    SettingsError,
    TlsError,
    TooLargeError,
    TooManySessionsError,
    UnauthorizedError,
    UnavailableError,
    UnreachableError,
    WrongStateError,
)
from cc_bridge.events import (
    Accepted,
    Disconnected,
    Ended,
    Event,
    Gap,
    Notice,
    Output,
    QuestionAsked,
    QuestionClosed,
    Reconnected,
    StatusChanged,
)
from cc_bridge.input_stream import InputStream
from cc_bridge.options import Options
from cc_bridge.output_tracker import OutputCheck, OutputTracker
from cc_bridge.parameters import ExecuteOptions
from cc_bridge.questions import (
    Answer,
    AnswerResult,
    ClosedQuestion,
    OpenQuestion,
    Question,
    QuestionCallback,
)
from cc_bridge.results import Events, Greeting, Me, Page, Share
from cc_bridge.run import Run
from cc_bridge.status import ExecutionError, State, Status
from cc_bridge.token import FROM_ENVIRONMENT, Token, find_token

__all__ = [
    "DEFAULT_URL",
    "FROM_ENVIRONMENT",
    "Accepted",
    "Answer",
    "AnswerResult",
    "Bridge",
    "BridgeError",
    "BusyError",
    "CancelledUnansweredError",
    "ClosedError",
    "ClosedQuestion",
    "ConnectError",
    "Disconnected",
    "Ended",
    "Event",
    "Events",
    "ExecuteOptions",
    "ExecutionError",
    "ForbiddenError",
    "FullError",
    "Gap",
    "GapError",
    "GaveUpError",
    "Greeting",
    "IdInUseError",
    "InputStream",
    "InternalError",
    "InvalidParamsError",
    "InvalidRequestError",
    "Me",
    "MethodNotFoundError",
    "NoAnswerError",
    "NotAllowedError",
    "NotAuthorisedError",
    "NotFoundError",
    "Notice",
    "OffsetNotKeptError",
    "OpenQuestion",
    "Options",
    "Output",
    "OutputCheck",
    "OutputError",
    "OutputTracker",
    "Page",
    "ParseError",
    "ProtocolError",
    "Question",
    "QuestionAsked",
    "QuestionCallback",
    "QuestionCallbackError",
    "QuestionClosed",
    "Reconnected",
    "RefusedError",
    "RpcError",
    "Run",
    "SettingsError",
    "Share",
    "State",
    "Status",
    "StatusChanged",
    "TlsError",
    "Token",
    "TooLargeError",
    "TooManySessionsError",
    "UnauthorizedError",
    "UnavailableError",
    "UnreachableError",
    "WrongStateError",
    "find_token",
]
