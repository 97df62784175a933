# SPDX-License-Identifier: ISC
"""Name servers: Debian's dnsmasq with a zone that changes, and one that lies."""
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading

from lib import net, programs, proxy, tap


class Server:
    """dnsmasq on a port of 127.0.0.1, authoritative for "test".  Its zone may change while it runs."""

    def __init__(self, hosts=(), srv=(), ttl=1, start=True):
        programs.need("dnsmasq")
        self.port = net.port()
        self.address = f"127.0.0.1:{self.port}"
        self.ttl = ttl
        self.dir = tap.tmpdir()
        self.path = f"{self.dir}/hosts"
        self.srv = srv
        self.process = None
        tap.cleanup(self.stop)
        self._write(hosts)
        if start:
            self.start()

    def _write(self, hosts):
        with open(f"{self.path}.new", "w", encoding="ascii") as file:
            file.writelines(f"{address} {name}\n" for name, address in hosts)
        os.rename(f"{self.path}.new", self.path)

    def start(self):
        command = [shutil.which("dnsmasq", path=programs.PATH), "--conf-file=/dev/null", "--keep-in-foreground",
                   "--no-resolv", "--no-hosts", "--pid-file", "--bind-interfaces", "--listen-address=127.0.0.1",
                   "--log-facility=-", "--local=/test/", f"--port={self.port}", f"--local-ttl={self.ttl}",
                   f"--addn-hosts={self.path}", *(["--user=root"] if os.getuid() == 0 else []),
                   *[f"--srv-host={line}" for line in self.srv]]
        with open(f"{self.dir}/log", "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._ready(1)

    def _log(self):
        with open(f"{self.dir}/log", encoding="utf-8", errors="replace") as file:
            return file.read()

    def _ready(self, times):
        """Once it has read its hosts so many times."""
        proxy.wait_for(lambda: self._log().count(f"read {self.path}") >= times or self.process.poll() is not None,
                       "dnsmasq to be ready")
        tap.check(self.process.poll() is None, f"dnsmasq ended: {self._log()}")

    def zone(self, hosts, srv=None):
        """From now on these are the names: (name, address) pairs, and SRV records as dnsmasq writes them."""
        self._write(hosts)
        if srv is None and self.process:
            times = self._log().count(f"read {self.path}")
            self.process.send_signal(signal.SIGHUP)
            self._ready(times + 1)
            return
        self.srv = self.srv if srv is None else srv
        self.stop()
        self.start()

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process = None


class Liar:
    """Takes the place of a name server and answers each question as reply(question) says: bytes, or None for nothing."""

    def __init__(self, port, reply):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", port))
        self.reply = reply
        self.asked = 0
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        tap.cleanup(self.stop)

    def _serve(self):
        while True:
            try:
                question, peer = self.sock.recvfrom(2048)
                if not question:
                    return
                self.asked += 1
                answer = self.reply(question)
                if answer:
                    self.sock.sendto(answer, peer)
            except OSError:
                return

    def stop(self):
        if self.thread.is_alive():
            self.sock.sendto(b"", self.sock.getsockname())      # the order to end
            self.thread.join(5)
        self.sock.close()


def answer(question, address, owner=b"\xc0\x0c", flags=0x8180, number=None):
    """An answer to a question for A records: that address, for the name asked for unless `owner` says otherwise."""
    end = question.index(b"\0", 12) + 5
    kind = struct.unpack("!H", question[end - 4:end - 2])[0]
    head = struct.pack("!HHHHHH", struct.unpack("!H", question[:2])[0] if number is None else number, flags, 1,
                       int(kind == 1), 0, 0)
    record = owner + struct.pack("!HHIH", 1, 1, 1, 4) + socket.inet_aton(address) if kind == 1 else b""
    return head + question[12:end] + record
