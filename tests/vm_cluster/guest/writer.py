"""Write numbered, checksummed blocks past the page cache, each read back at once.

`writer.py DEVICE STATE`: until SIGTERM. STATE holds two numbers in text: how many blocks the device has acknowledged,
and when (epoch seconds) the last.
`writer.py verify DEVICE STATE`: ends with 0 if every block acknowledged last is there, whole.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import signal
import struct
import sys
import time
from pathlib import Path

BLOCK = 4096
BLOCKS = 512
_HEAD = struct.Struct("<QQ")


def block(number: int) -> bytes:
    body = _HEAD.pack(number, number % BLOCKS) + number.to_bytes(8, "little") * ((BLOCK - _HEAD.size - 32) // 8)
    return body + hashlib.sha256(body).digest()


def read(device: int, place: int, buffer: mmap.mmap) -> bytes:
    os.preadv(device, [buffer], place * BLOCK)
    return buffer[:]


def write(device: str, state: Path) -> None:
    disk = os.open(device, os.O_RDWR | os.O_DIRECT | os.O_DSYNC)
    buffer = mmap.mmap(-1, BLOCK)  # O_DIRECT wants it aligned to pages
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    number = 0
    while not ended:
        buffer[:] = block(number)
        if os.pwritev(disk, [buffer], number % BLOCKS * BLOCK) != BLOCK:
            sys.exit(f"block {number} was not written whole")
        if read(disk, number % BLOCKS, buffer) != block(number):
            sys.exit(f"block {number} is not what was written")
        number += 1
        state.write_text(f"{number} {time.time():.1f}\n")


def verify(device: str, state: Path) -> None:
    count = int(state.read_text().split()[0])
    disk = os.open(device, os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, BLOCK)
    lost = [
        number
        for number in range(max(0, count - BLOCKS), count)
        if read(disk, number % BLOCKS, buffer) != block(number)
    ]
    print(f"{count} blocks acknowledged, {len(lost)} of the last {min(count, BLOCKS)} lost")
    sys.exit(bool(lost) or count == 0)


if __name__ == "__main__":
    if sys.argv[1] == "verify":
        verify(sys.argv[2], Path(sys.argv[3]))
    write(sys.argv[1], Path(sys.argv[2]))
