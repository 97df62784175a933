# SPDX-License-Identifier: ISC
"""Random payloads and their checksums."""
import hashlib
import os

_pool = b""


def scale():
    """The factor that SPLICED_TEST_SCALE, or a sanitizer in the program, puts on sizes."""
    from lib import proxy
    return float(os.environ.get("SPLICED_TEST_SCALE") or (1 / 8 if proxy.sanitizer() else 1))


def scaled(size, least=1):
    """A size or count, made smaller by scale()."""
    return max(least, int(size * scale()))


def payload(size, number=0):
    """Random bytes; a different number gives different ones (slices of one pool, so they cost nothing)."""
    global _pool
    if len(_pool) < size + (1 << 20):
        _pool = os.urandom(size + (1 << 20))
    start = number * 40961 % (len(_pool) - size)
    return memoryview(_pool)[start:start + size]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def describe(data):
    """Size and the checksum's start: what two payloads are compared by in messages."""
    return f"{len(data)} bytes {sha256(data)[:16]}"
