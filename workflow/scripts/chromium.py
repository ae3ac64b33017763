"""A headless Chromium over its DevTools pipe: no package, no port.

Messages are JSON, ended by a NUL byte: the browser reads them on descriptor 3 and answers on 4
(`--remote-debugging-pipe`).
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-extensions",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-component-update",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
)


def find() -> str | None:
    """Path of a Chromium or Chrome, None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@cache
def missing() -> str | None:
    """Why no browser can be used here, with what to install; None where one draws a page.

    A program of that name may be a script that only says how to install it, or lack a library.
    """
    if find() is None:
        return f"no Chromium here: install one of {', '.join(NAMES)}"
    try:
        with Browser(timeout=30.0) as browser:
            browser.run("document.body.innerHTML")
    except (BrowserError, OSError) as error:
        return f"{find()} does not work ({error}): install chromium"
    return None


class BrowserError(RuntimeError):
    """The browser ended, did not answer in time, or answered with an error."""


class Browser:
    """One browser with one page; use in a `with` block, which ends the process."""

    def __init__(self, timeout: float = 60.0) -> None:
        program = find()
        if program is None:
            raise BrowserError(f"no Chromium here: install one of {', '.join(NAMES)}")
        self.timeout = timeout
        self.events: list[dict[str, Any]] = []
        self._last, self._rest, self._session = 0, b"", ""
        self._home = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        # Above 4, so that neither is in the way when they become 3 and 4.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_browser, from_browser)]

        def places() -> None:
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={self._home.name}", "about:blank"],
            preexec_fn=places,
            pass_fds=(3, 4),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (to_browser, from_browser, *ends):
            os.close(end)
        targets = self.send("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        attached = self.send("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(BrowserError, OSError):
            self._session = ""
            self.send("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for end in (self._in, self._out):
            os.close(end)
        self._home.cleanup()

    def send(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Call a method of the protocol; events that come before the answer are kept."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": arguments}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + self.timeout
        while True:
            answer = self._read(end)
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def open(self, path: Path, fragment: str = "") -> None:
        """Load a file anew and wait until it is; events of the page before are forgotten."""
        # From another page: from the same one, an address with a fragment is only a jump.
        self.send("Page.navigate", url="about:blank")
        self.events.clear()
        address = path.resolve().as_uri() + fragment
        failed = self.send("Page.navigate", url=address).get("errorText")
        if failed:
            raise BrowserError(f"{address}: {failed}")
        end = time.monotonic() + self.timeout
        while self.run("document.readyState") != "complete":
            if time.monotonic() > end:
                raise BrowserError(f"{address} is not loaded after {self.timeout:g} s")
            time.sleep(0.02)

    def run(self, script: str) -> Any:
        """Value of a JavaScript expression, a promise awaited; an exception is a BrowserError."""
        found = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            raise BrowserError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def window(self, width: int, height: int, scale: float = 1.0, phone: bool = False) -> None:
        """Size of the page in CSS pixels."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=phone,
        )  # fmt: skip

    def media(self, scheme: str = "light", media: str = "") -> None:
        """Colour scheme, `light` or `dark`, and the medium, `print` or none."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.send("Emulation.setEmulatedMedia", media=media, features=[feature])

    def picture(self, path: Path, whole: bool = False) -> None:
        """PNG of the window, or of the whole page."""
        found = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def pdf(self, path: Path) -> None:
        """Print to a PDF, A4."""
        found = self.send("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)
        path.write_bytes(base64.b64decode(found["data"]))

    def faults(self) -> list[str]:
        """What went wrong since the page was opened: console errors, exceptions, failed loads."""
        self.run("1")  # takes in the events up to now
        found = []
        for event in self.events:
            name, told = event.get("method"), event.get("params", {})
            if name == "Runtime.consoleAPICalled" and told["type"] in ("error", "assert"):
                found.append(f"console: {[each.get('value') for each in told['args']]}")
            elif name == "Runtime.exceptionThrown":
                found.append(f"exception: {told['exceptionDetails'].get('text')}")
            elif name == "Log.entryAdded" and told["entry"]["level"] == "error":
                found.append(f"log: {told['entry']['text']}")
            elif name == "Network.loadingFailed":
                found.append(f"request: {told.get('errorText')}")
        return found

    def requests(self) -> list[str]:
        """Addresses asked for since the page was opened."""
        self.run("1")
        sent = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def _read(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            left = end - time.monotonic()
            ready = select.select([self._in], [], [], max(left, 0))[0]
            if not ready:
                raise BrowserError(f"the browser does not answer within {self.timeout:g} s")
            more = os.read(self._in, 1 << 20)
            if not more:
                raise BrowserError("the browser has ended")
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found
