#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Readers that stop cost no memory but their pipes, and get every byte once they go on."""
import os

from lib import data, net, pairs, peers, proxy, tap
from lib.flows import Flows

MIB = 1 << 20
SMALL = "socket { sndbuf = 64K rcvbuf = 64K }\n"
SESSIONS = 50


def _stopped_readers(kinds, threads=1):
    pair = pairs.Pair(kinds, threads=threads, top=SMALL, buffers={"rcvbuf": 65536, "sndbuf": 65536})
    peers.exchange(pair.front, pair.servers, 4, MIB)        # touches what is touched once
    pair.servers.listener.setblocking(True)
    pair.proxy.wait_access(4)
    before, descriptors = pair.proxy.pss(), pair.proxy.fds()
    sessions = [pair.session(sndbuf=65536, rcvbuf=65536) for _ in range(SESSIONS)]
    payloads = [data.payload(3 * MIB, number) for number in range(SESSIONS)]
    # Half of the sessions stall upwards, half downwards.
    flows = Flows([(c, s, p) if number % 2 else (s, c, p) for number, ((c, s), p) in enumerate(zip(sessions, payloads))])
    taken = flows.fill()
    tap.check(taken < SESSIONS * 2.5 * MIB, f"{taken} bytes were taken: the readers are not stalled")
    grown = pair.proxy.pss() - before
    if not proxy.sanitizer():
        tap.check(grown <= MIB, f"{SESSIONS} stalled sessions hold {grown} bytes of memory")
    # Two sockets, and one pipe for the direction that is stalled.
    tap.between(pair.proxy.fds() - descriptors, SESSIONS * 2 - 8, SESSIONS * 2, "sockets of the sessions")
    tap.check(pair.proxy.pipes() <= SESSIONS * 2 + proxy.POOLED * threads, f"{pair.proxy.pipes()} descriptors of pipes")
    pair.proxy.check_idle("every reader is stopped", 0.5)
    flows.finish()
    for client, server in sessions:
        client.close()
        server.close()
    pair.proxy.wait_access(4 + SESSIONS)
    pair.proxy.wait_fds(descriptors)
    tap.note(f"{taken // SESSIONS} bytes taken a session, memory grew by {grown}")


for _kinds in pairs.PAIRS:
    tap.case(f"{_kinds[0]} to {_kinds[1]}: {SESSIONS} sessions with stopped readers")(
        lambda k=_kinds: _stopped_readers(k))
tap.case(f"tcp to tcp, 2 threads: {SESSIONS} sessions with stopped readers")(
    lambda: _stopped_readers(("tcp", "tcp"), 2))


@pairs.each("thousands of small messages wait for a reader that is stopped")
def _slots(kinds):
    pair = pairs.Pair(kinds, top=SMALL, buffers={"rcvbuf": 65536, "sndbuf": 65536})
    sessions = [pair.session(sndbuf=262144) for _ in range(4)]
    # 100 bytes a message fill the slots of a pipe, and the buffers of AF_UNIX, long before their bytes.
    flows = Flows([((c, s) if number % 2 else (s, c)) + (data.payload(600000, number),)
                   for number, (c, s) in enumerate(sessions)], chunk=100)
    flows.fill(0.3)
    pair.proxy.check_idle("small messages wait", 0.5)
    flows.finish()


@tap.case("default buffers: stopped readers on both sides of one session")
def _both_ways():
    pair = pairs.Pair(("tcp", "tcp"))
    client, server = pair.session()
    size = data.scaled(96 * MIB, 64 * MIB)      # more than all buffers on the way take
    up, down = data.payload(size, 1), data.payload(size, 2)
    flows = Flows([(client, server, up)])
    other = Flows([(server, client, down)])
    flows.fill(0.3)
    other.fill(0.3)
    pair.proxy.check_idle("both directions are stalled", 0.5)
    reading = proxy.thread(net.read_all, _blocking(server))
    other_reading = proxy.thread(net.read_all, _blocking(client))
    sending = [proxy.thread(_rest, flows.flows[0]), proxy.thread(_rest, other.flows[0])]
    for got, sent in ((reading.result(), up), (other_reading.result(), down)):
        tap.equal((data.describe(got[0]), got[1]), (data.describe(sent), None), "what arrived")
    for thread in sending:
        thread.result()


def _blocking(sock):
    sock.settimeout(net.TIMEOUT)
    return sock


def _rest(flow):
    flow.sender.sendall(flow.payload[flow.sent:])
    flow.sender.shutdown(1)


@tap.case("as an ordinary user beyond the kernel's allowance of pipe memory: small pipes, every byte")
def _pipe_allowance():
    if os.getuid():
        raise tap.Skip("needs root, to become a user with no pipes of its own")
    user = 2000000 + os.getpid()
    hog = peers.Process(_hog_pipes, user)
    proxy.wait_for(lambda: os.path.exists(f"/proc/{hog.pid}/fd/300"), "the hog to take all pipe memory", 5)
    pair = pairs.Pair(("tcp", "tcp"), user=user, top=SMALL, buffers={"rcvbuf": 65536, "sndbuf": 65536})
    sessions = [pair.session(sndbuf=65536, rcvbuf=65536) for _ in range(10)]
    flows = Flows([((c, s) if number % 2 else (s, c)) + (data.payload(2 * MIB, number),)
                   for number, (c, s) in enumerate(sessions)])
    flows.fill(0.3)
    pair.proxy.check_idle("readers are stopped, pipes small", 0.5)
    flows.finish()
    peers.exchange(pair.front, pair.servers, 4, data.scaled(8 * MIB))


def _hog_pipes(user):
    """Takes the user's allowance (fs.pipe-user-pages-soft) and shows it by descriptor 300."""
    import fcntl
    import time
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    ends = []
    try:
        while len(ends) < 400:
            ends += os.pipe()
            fcntl.fcntl(ends[-1], 1031, MIB)        # F_SETPIPE_SZ
    except OSError:
        pass
    # The allowance is used up to the last big pipe: ordinary ones take the rest.
    while len(ends) < 700:
        ends += os.pipe()
    os.dup2(ends[0], 300)
    time.sleep(120)


tap.run()
