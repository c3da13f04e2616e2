"""A page in headless Chromium, over WebDriver's HTTP alone: no Selenium. Skips where Chromium is missing."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

DRIVER = shutil.which("chromedriver")
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


class Page:
    """One tab."""

    def __init__(self, address: str, session: str) -> None:
        self.address, self.session = address, session

    def call(self, path: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
        request = urllib.request.Request(
            f"{self.address}/session/{self.session}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read())["value"]

    def open(self, path: Path) -> None:
        self.call("/url", {"url": path.resolve().as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a script's `return`."""
        return self.call("/execute/sync", {"script": script, "args": list(arguments)})

    def run_async(self, script: str, *arguments: Any) -> Any:
        """What the script passes to the callback, its last argument."""
        return self.call("/execute/async", {"script": script, "args": list(arguments)})

    def wait(self, script: str, tries: int = 200) -> None:
        """Until the script returns true; a key is handled a little after it is sent."""
        for _ in range(tries):
            if self.run(script):
                return
            time.sleep(0.05)
        raise TimeoutError(script)

    def devtools(self, command: str, **parameters: Any) -> Any:
        return self.call("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def look(self, width: int, dark: bool = False) -> None:
        """Set the width of the window in CSS pixels and the colour scheme."""
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path) -> Path:
        """The whole page, not only the window."""
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        path.write_bytes(base64.b64decode(shot["data"]))
        return path

    def pdf(self) -> bytes:
        return base64.b64decode(self.devtools("Page.printToPDF", printBackground=True)["data"])

    def press(self, key: str, element: str) -> None:
        """Focus an element (CSS selector) and press a key."""
        self.run("document.querySelector(arguments[0]).focus()", element)
        keys = {
            "type": "key",
            "id": "k",
            "actions": [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}],
        }
        self.call("/actions", {"actions": [keys]})


@contextmanager
def chromium() -> Iterator[Page]:
    """A headless browser without network."""
    if DRIVER is None or CHROMIUM is None:
        pytest.skip("needs Chromium and ChromeDriver (apt-get install chromium chromium-driver)")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    driver = subprocess.Popen([DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    page = None
    try:
        page = _session(f"http://127.0.0.1:{port}")
        yield page
    finally:
        if page is not None:
            page.call("", method="DELETE")
        driver.terminate()
        driver.wait(10)


def _session(address: str) -> Page:
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
             "--host-resolver-rules=MAP * ~NOTFOUND"]  # fmt: skip
    wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"binary": CHROMIUM, "args": flags},
                                               "goog:loggingPrefs": {"browser": "ALL"}}}}  # fmt: skip
    for _ in range(100):
        try:
            request = urllib.request.Request(
                f"{address}/session", json.dumps(wanted).encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Page(address, json.loads(answer.read())["value"]["sessionId"])
        except ConnectionError:
            time.sleep(0.1)
        except OSError as error:
            if not isinstance(getattr(error, "reason", None), ConnectionError):
                raise
            time.sleep(0.1)
    raise TimeoutError("chromedriver did not start")
