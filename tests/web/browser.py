"""A real browser without a window: Debian's Chromium, driven as a person drives it.

Whatever it complains about (scripts that fail, policies that are broken, files that are missing) is found afterwards in its log.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from needs import needs_command
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.web.fakes import TOKEN

PATIENCE_S = 30.0  # CI machines are slow and loaded
WIDE, NARROW = (1280, 900), (390, 844)
SMALLEST = (320, 568)  # also what a window of 1280 shows at a zoom of 400 %
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--lang=en",
    "--hide-scrollbars",
)  # fmt: skip


class Browser:
    """One window. ``driver`` is selenium's, for what has no short word here."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def be_signed_in(self, url: str) -> None:
        """By the cookie that the pages of a cluster share."""
        value = base64.urlsafe_b64encode(TOKEN.encode()).decode().rstrip("=")
        self.driver.execute_cdp_cmd("Network.setCookie", {"name": "arvados_api_token", "value": value, "url": url})

    def be(self, *, dark: bool = False, size: tuple[int, int] = WIDE, zone: str = "Europe/Berlin") -> None:
        """How the viewer's screen is: light or dark, wide or narrow, and where they live."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False},
        )
        self.driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": zone})

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def link(self, text: str) -> WebElement:
        return self.driver.find_element(By.LINK_TEXT, text)

    def text(self, selector: str = "body") -> str:
        """As a person sees it, also while the page replaces it."""
        found: str = self.run("const e = document.querySelector(arguments[0]); return e ? e.innerText : ''", selector)
        return found

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        WebDriverWait(self.driver, PATIENCE_S, poll_frequency=0.1).until(lambda _: is_so(), f"never: {what}")

    def complaints(self) -> list[str]:
        """What its log says since the last look."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """A screenshot, of what is in view or of the whole page."""
        options = {"format": "png", "captureBeyondViewport": whole}
        path.write_bytes(base64.b64decode(self.driver.execute_cdp_cmd("Page.captureScreenshot", options)["data"]))


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with nothing in its past. ``folder`` is its home for as long as it lives."""
    options = webdriver.ChromeOptions()
    options.binary_location = needs_command("chromium", package="chromium")
    for flag in (*FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = Service(needs_command("chromedriver", package="chromium-driver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.set_page_load_timeout(PATIENCE_S)
        yield Browser(driver)
    finally:
        driver.quit()
