"""A model file without its color-token op, for ONNX Runtime, which runs every node whether or not anybody asks for it.

Of the file's protocol buffers only what is needed is read: ModelProto.graph, the op's name in each node, and the names
of the outputs. The onnx package is not among what colorizing needs.
"""

from collections.abc import Iterator

from edgecolor.stages.logits_to_ab import OP

GRAPH = 7  # field of ModelProto
NODE, OUTPUT = 1, 12  # fields of GraphProto
OP_TYPE, NAME = 4, 1  # of NodeProto, of ValueInfoProto
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # how a field is written


def network_alone(model: bytes, outputs: tuple[str, ...] = ("logits", "features")) -> bytes:
    """The model without its op, with only those outputs. raises ValueError where it is no such file"""
    return b"".join(
        _field(GRAPH, _without_op(value, outputs)) if number == GRAPH and value is not None else raw
        for number, value, raw in _fields(model)
    )


def _without_op(graph: bytes, outputs: tuple[str, ...]) -> bytes:
    kept = [name.encode() for name in outputs]
    return b"".join(
        raw
        for number, value, raw in _fields(graph)
        if not (number == NODE and _text(value, OP_TYPE) == OP.encode())
        and not (number == OUTPUT and _text(value, NAME) not in kept)
    )


def _text(message: bytes, wanted: int) -> bytes | None:
    return next((value for number, value, _ in _fields(message) if number == wanted), None)


def _fields(message: bytes) -> Iterator[tuple[int, bytes | None, bytes]]:
    """Number, content where it is of bytes, and the whole field as it is written."""
    at = 0
    while at < len(message):
        begin = at
        key, at = _varint(message, at)
        value, kind = None, key & 7
        if kind == VARINT:
            _, at = _varint(message, at)
        elif kind == BYTES:
            size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
        elif kind in (FIXED64, FIXED32):
            at += 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"no protocol buffer: kind {kind} at byte {begin}")
        if at > len(message):
            raise ValueError("the protocol buffer ends too soon")
        yield key >> 3, value, message[begin:at]


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message):
        byte = message[at]
        value, at, shift = value | (byte & 0x7F) << shift, at + 1, shift + 7
        if not byte & 0x80:
            return value, at
    raise ValueError("the protocol buffer ends too soon")


def _field(number: int, value: bytes) -> bytes:
    written = bytearray()
    for rest in (number << 3 | BYTES, len(value)):
        while rest > 0x7F:
            written.append(rest & 0x7F | 0x80)
            rest >>= 7
        written.append(rest)
    return bytes(written) + value
