# SPDX-License-Identifier: ISC
"""A real browser: chromium, headless, by the protocol of its driver (W3C WebDriver)."""
import base64
import http.client
import json
import os
import shutil
import signal
import subprocess

from lib import net, proxy, tap

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")


class Browser:
    """One window.  Closed when the case is over."""

    def __init__(self, width=1200, height=900):
        if not CHROMIUM or not DRIVER:
            raise tap.Skip("chromium and chromium-driver are not installed")
        self.port = net.port()
        self.directory = tap.tmpdir()
        # Its processes are many: a group of their own, which ends as a whole.
        self.process = subprocess.Popen([DRIVER, f"--port={self.port}"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                                        env={**os.environ, "HOME": self.directory, "TMPDIR": self.directory})
        tap.cleanup(self._kill)
        proxy.wait_for(lambda: net.listening(f"127.0.0.1:{self.port}"), "the driver", 30)
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                     "--disable-extensions", "--disable-background-networking", "--hide-scrollbars", "--no-proxy-server",
                     f"--user-data-dir={self.directory}/profile", f"--window-size={width},{height}"]
        self.session = None
        self.session = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": {"binary": CHROMIUM, "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"}}}})["sessionId"]
        tap.cleanup(self.close)

    def _ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60 * proxy.slowness())
        try:
            where = f"/session/{self.session}{path}" if self.session else path
            connection.request(method, where, None if body is None else json.dumps(body),
                               {"Content-Type": "application/json"})
            answer = connection.getresponse()
            value = json.loads(answer.read())["value"]
        finally:
            connection.close()
        if answer.status != 200:
            raise tap.Failed(f"the browser says: {value.get('error')}: {value.get('message', '').splitlines()[:1]}")
        return value

    def close(self):
        if self.session:
            self._ask("DELETE", "")
            self.session = None

    def _kill(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def open(self, url):
        self._ask("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        """What a piece of JavaScript returns."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def command(self, name, **parameters):
        """A command of the DevTools."""
        return self._ask("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def errors(self):
        """What the console has complained of since last asked; the browser's own pages are not ours to mend."""
        return [entry["message"] for entry in self._ask("POST", "/se/log", {"type": "browser"})
                if entry["level"] in ("SEVERE", "WARNING") and not entry["message"].startswith("chrome://")]

    def size(self, width, height, mobile=False):
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if mobile else 1,
                     mobile=mobile)

    def dark(self, on):
        self.command("Emulation.setEmulatedMedia",
                     features=[{"name": "prefers-color-scheme", "value": "dark" if on else "light"}])

    def scripts(self, on):
        self.command("Emulation.setScriptExecutionDisabled", value=not on)

    def screenshot(self, name):
        """Kept beside the test's log."""
        path = os.path.join(os.environ.get("top_builddir", "."), "tests/integration", name)
        with open(path, "wb") as file:
            file.write(base64.b64decode(self._ask("GET", "/screenshot")))
        return path
