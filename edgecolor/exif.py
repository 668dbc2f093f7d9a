"""The orientation in EXIF, and EXIF for a picture that stands upright. What is odd or damaged never fails a picture."""

ORIENTATION = 0x0112
HEAD = b"Exif\0\0"
UPRIGHT = 1
SHORT = 3  # a type of value


def orientation_of(image) -> int:
    """1 to 8, of a picture that Pillow has opened; 1 where it says nothing that can be understood."""
    try:
        found = image.getexif().get(ORIENTATION, UPRIGHT)
    except Exception:  # Pillow's parser raises of every kind
        return UPRIGHT
    return found if found in range(1, 9) else UPRIGHT


def turned_upright(image, orientation: int):
    """The picture as it is to be seen."""
    from PIL import Image

    turns = Image.Transpose
    table = (None, turns.FLIP_LEFT_RIGHT, turns.ROTATE_180, turns.FLIP_TOP_BOTTOM, turns.TRANSPOSE, turns.ROTATE_270,
             turns.TRANSVERSE, turns.ROTATE_90)  # fmt: skip
    turn = table[orientation - 1]
    return image if turn is None else image.transpose(turn)


def upright_block(block: bytes) -> bytes:
    """A block as JPEG files have it, byte for byte, but that its first directory no longer asks to be turned."""
    begin = len(HEAD) if block.startswith(HEAD) else 0
    order = {b"II": "little", b"MM": "big"}.get(block[begin : begin + 2])
    if order is None:
        return block

    def number(at: int, count: int) -> int:
        return int.from_bytes(block[begin + at : begin + at + count], order)

    directory = number(4, 4)
    for at in range(directory + 2, directory + 2 + 12 * number(directory, 2), 12):
        if number(at, 2) == ORIENTATION and begin + at + 12 <= len(block):
            value = SHORT.to_bytes(2, order) + (1).to_bytes(4, order) + UPRIGHT.to_bytes(2, order) + b"\0\0"
            return block[: begin + at + 2] + value + block[begin + at + 12 :]
    return block
