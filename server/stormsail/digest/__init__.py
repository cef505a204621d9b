"""The digest of a message, made in a child process of its own because foreign bytes break parsers (DESIGN §3.11).

In: one request a frame on stdin. Out: one answer a frame on stdout. The child knows neither store nor configuration;
only `mailstore` starts it, and takes from here nothing but the values, the frames and the words of the search.
"""

from .protocol import (
    Answer,
    Correspondent,
    Digest,
    Hello,
    PartAnswer,
    PartNode,
    Refusal,
    Request,
    Task,
    decode_answer,
    encode_request,
    frame,
)
from .words import search_words

__all__ = [
    "Answer",
    "Correspondent",
    "Digest",
    "Hello",
    "PartAnswer",
    "PartNode",
    "Refusal",
    "Request",
    "Task",
    "decode_answer",
    "encode_request",
    "frame",
    "search_words",
]
