"""A page in a real browser: headless Chromium over its DevTools protocol, spoken with tornado's WebSocket client."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
_PATIENCE = 60


class Tab:
    """One page; ``events`` are all events that the browser has told so far."""

    def __init__(self, connection: Any) -> None:
        self._connection, self._session, self._last = connection, "", 0
        self.events: list[dict[str, Any]] = []

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command of the protocol."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        await self._connection.write_message(
            json.dumps(message | ({"sessionId": self._session} if self._session else {}))
        )
        while True:
            told = await self._read()
            if told.get("id") == self._last:
                assert "error" not in told, f"{method}: {told['error']}"
                return dict(told["result"])

    async def _read(self) -> dict[str, Any]:
        text = await asyncio.wait_for(self._connection.read_message(), _PATIENCE)
        assert text is not None, "the browser is gone"
        told: dict[str, Any] = json.loads(text)
        if "method" in told:
            self.events.append(told)
        return told

    async def attach(self) -> None:
        """Open a tab and listen to everything that it says."""
        target = await self.ask("Target.createTarget", url="about:blank")
        found = await self.ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = found["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility", "DOM"):
            await self.ask(f"{domain}.enable")

    async def open(self, url: str, *, width: int, dark: bool = False) -> None:
        """Load a page at a width in CSS pixels, light or dark, and wait until it is there."""
        await self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        await self.ask("Page.navigate", url=url)
        while not any(each["method"] == "Page.loadEventFired" for each in self.events):
            await self._read()
        await self.run("new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")

    async def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        told = await self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def picture(self, place: Path) -> None:
        """The whole page as PNG."""
        size = (await self.ask("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 16000), "scale": 1}
        told = await self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        place.write_bytes(base64.b64decode(told["data"]))

    async def paper(self, place: Path) -> None:
        """The page as printed, A4."""
        told = await self.ask("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, preferCSSPageSize=True)
        place.write_bytes(base64.b64decode(told["data"]))


def browse(work: Callable[[Tab], Awaitable[Any]]) -> Any:
    """What ``work`` finds in a browser of its own, which is gone afterwards."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = (
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--remote-debugging-port=0",
        )
        quiet = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--mute-audio")
        command = [CHROMIUM, *options, *quiet, f"--user-data-dir={profile}", "about:blank"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
            try:
                return asyncio.run(_in(_address(Path(profile) / "DevToolsActivePort"), work))
            finally:
                browser.kill()


def _address(place: Path) -> str:
    """Where a browser that is starting listens; it writes the port and the path to a file."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        lines = place.read_text().split() if place.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.05)
    raise AssertionError("Chromium did not start")


async def _in(url: str, work: Callable[[Tab], Awaitable[Any]]) -> Any:
    from tornado.websocket import websocket_connect

    connection = await websocket_connect(url, max_message_size=1 << 28)
    try:
        tab = Tab(connection)
        await tab.attach()
        return await work(tab)
    finally:
        connection.close()
        while await asyncio.wait_for(connection.read_message(), _PATIENCE) is not None:
            pass  # until the browser has taken leave too, and the socket is closed
