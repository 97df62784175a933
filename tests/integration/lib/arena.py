# SPDX-License-Identifier: ISC
"""The arena of a running proxy, to be looked at and damaged; as in src/engine/arena.h and src/session/session.h."""
import os
import signal
import struct

from lib import proxy, tap

_EXTENTS, _EXTENT, _SESSIONS = 32, struct.Struct("QIIII"), 7    # where in the head, and which
FDS, STATE, BUSY, DOWN, ID = 8, 4, 5, 56, 96                    # in a session's record
CLOSED, PREFACE, QUEUED, CONNECTING, RELAYING, CLOSING = 0, 2, 4, 5, 6, 7   # states


class Arena:
    """The session records, by the keeper's descriptor of the arena."""

    def __init__(self, running):
        for name in os.listdir(f"/proc/{running.pid}/fd"):
            if os.readlink(f"/proc/{running.pid}/fd/{name}").startswith("/memfd:spliced-arena"):
                self.number = int(name)
                self.fd = os.open(f"/proc/{running.pid}/fd/{name}", os.O_RDWR)
                tap.cleanup(os.close, self.fd)
                break
        self.offset, self.size, _, _, _ = self._extent()

    def _extent(self):
        return _EXTENT.unpack(os.pread(self.fd, _EXTENT.size, _EXTENTS + _SESSIONS * _EXTENT.size))

    def used(self):
        """How many records were ever given out."""
        return self._extent()[3]

    def record(self, index):
        return bytearray(os.pread(self.fd, self.size, self.offset + index * self.size))

    def write(self, index, record):
        os.pwrite(self.fd, bytes(record), self.offset + index * self.size)

    def records(self):
        """Those in use, by index."""
        return {index: record for index in range(self.used()) if (record := self.record(index))[STATE] != CLOSED}

    def by_age(self):
        """The indices of the records in use, in the order in which their sessions came."""
        records = self.records()
        return sorted(records, key=lambda index: struct.unpack_from("Q", records[index], ID))

    def wait_states(self, states):
        """Waits until the records in use have these states, in whatever order."""
        proxy.wait_for(lambda: sorted(record[STATE] for record in self.records().values()) == sorted(states),
                       lambda: f"sessions in states {states}: {[record.hex() for record in self.records().values()]}")


def rest(running):
    """Waits until no session is in a critical window: its last bytes have arrived before the worker notes that they have."""
    view = Arena(running)
    proxy.wait_for(lambda: not any(record[BUSY] for record in view.records().values()), "all sessions to be at rest")


def kill_worker(running):
    """Kills the worker at a moment when no session is in a critical window, and waits until the next one is ready."""
    view = Arena(running)
    worker = running.worker()
    said = len(running.log())
    while proxy.freeze(worker) and any(record[BUSY] for record in view.records().values()):
        os.kill(worker, signal.SIGCONT)
    os.kill(worker, signal.SIGKILL)
    running.wait_worker(worker)
    running.wait_log(r"worker \d+ \(PID \d+\) is ready", after=said)
