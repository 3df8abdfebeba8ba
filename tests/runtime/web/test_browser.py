"""The page in a headless Chromium: what a person sees, and what the browser asks for to show it."""

from __future__ import annotations

import io
import itertools
import re
import threading
import time
from dataclasses import replace
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from edgekit.postprocess.boxes import Box
from edgekit.postprocess.classify import Label
from edgekit.runtime.loop import Policy, StreamLoop
from edgekit.runtime.loop.report import Spread
from edgekit.runtime.web import LivePage, View
from edgekit.specs import ImagePreprocess
from tests.device.trees import ORIN_NANO_JETPACK_62
from tests.runtime.loop.cameras import Scripted, number_of
from tests.runtime.web.pages import processed, running, wait_for

pytestmark = pytest.mark.slow  # a browser is started, and waited for as a person would: half a minute

HOSTILE = '<img src=x onerror="document.title=1">'
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
GREEN, RED, BLUE = (0, 200, 0), (220, 0, 0), (0x2F, 0x6F, 0xBB)


class Tab:
    """One page of the browser, with all that it asked for and all that it complained about."""

    def __init__(self, browser, size=DESK, scheme="light"):
        self.context = browser.new_context(viewport=size, color_scheme=scheme)
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.asked, self.complaints = [], []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def shows(self, text: str) -> None:
        """Wait until the page shows a text."""
        self.page.get_by_text(text).first.wait_for()

    def tile(self, name: str) -> float:
        found = self.page.locator(".tiles div", has=self.page.locator("dt", has_text=re.compile(f"^{name}$")))
        return float(re.match(r"[\d,.]+", found.locator("dd").inner_text())[0].replace(",", ""))

    def answered(self) -> int:
        """How many answers the page says that there were."""
        said = self.page.locator("dt", has_text=re.compile("^frames$")).locator("+ dd").inner_text()
        return int(re.search(r"([\d,]+) answered", said)[1].replace(",", ""))

    def width(self) -> tuple[int, int]:
        """What the document needs, and what there is."""
        return tuple(self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]"))


@pytest.fixture
def tab(chromium):
    made = Tab(chromium)
    yield made
    made.context.close()


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    return pytest.importorskip("skimage.data").coffee()


def labels(frames):
    return [[Label(f"seen {frames[0].number}", 0, 0.75)]]


def test_numbers_change_and_nobody_else_is_asked(tab, photograph, tmp_path):
    with LivePage(0, root=tmp_path) as page, running(page, labels, photograph, Policy(deadline_ms=100)):
        tab.page.goto(page.url)
        tab.shows("running")
        wait_for(lambda: tab.tile("answers/s") > 5, "a rate")
        before, label = tab.answered(), tab.page.locator(".answer b").inner_text()
        wait_for(lambda: tab.answered() > before + 20, "more answers")
        wait_for(lambda: tab.page.locator(".answer b").inner_text() != label, "another answer")
        assert tab.tile("age, p50") < 1000
        assert tab.page.locator(".ages polyline").count() >= 1
        assert tab.page.locator(".ages .limit").count() == 0  # the deadline is the view's, which says none
        assert tab.page.locator("#machine section").count() == 0
        assert tab.complaints == []
        asked = {urlsplit(url) for url in tab.asked}
        assert {url.netloc for url in asked} == {f"127.0.0.1:{page.port}"}
        assert {url.path for url in asked} <= {"/", "/state", "/frame/0", "/favicon.ico"}


def pixel(tab, x: float, y: float) -> np.ndarray:
    """The colour on the canvas at parts of its width and height."""
    return np.array(
        tab.page.evaluate(
            """([x, y]) => { const canvas = document.querySelector("canvas"), paper = canvas.getContext("2d");
            return Array.from(paper.getImageData(x * canvas.width, y * canvas.height, 1, 1).data) }""",
            [x, y],
        )[:3]
    )


def test_the_picture_that_was_taken_is_shown(tab, photograph):
    with LivePage(0) as page:
        page.sink(processed(photograph, "seen", 41))
        tab.page.goto(page.url)
        tab.shows("frame 41")
        size = tab.page.evaluate("[document.querySelector('canvas').width, document.querySelector('canvas').height]")
        assert size == [photograph.shape[1], photograph.shape[0]]
        for x, y in itertools.product((0.11, 0.5, 0.87), (0.15, 0.52, 0.9)):
            taken = photograph[int(y * photograph.shape[0]), int(x * photograph.shape[1])].astype(int)
            assert np.abs(pixel(tab, x, y) - taken).max() < 40  # JPEG


def on_screen(tab) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(tab.page.screenshot())).convert("RGB")).astype(int)


def corners_on_screen(tab, selector: str) -> tuple[float, ...]:
    """Where a rectangle's own corners are, without the width of its line."""
    return tuple(
        tab.page.locator(selector).evaluate(
            """one => { const place = one.getScreenCTM(), box = one.getBBox();
            return [[box.x, box.y], [box.x + box.width, box.y + box.height]].flatMap(
            ([x, y]) => [place.a * x + place.e, place.d * y + place.f]) }"""
        )
    )


def edges(mask: np.ndarray) -> tuple[int, int, int, int]:
    """left, top, right, bottom of what is true."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@pytest.mark.parametrize("size", [DESK, PHONE])
def test_a_box_is_drawn_around_what_it_was_found_on(chromium, size):
    """A green block in the picture; its box, in the network's pixels, must go around the block on the screen."""
    picture = np.zeros((480, 640, 3), np.uint8)
    picture[120:240, 200:440] = GREEN
    spec = ImagePreprocess("image", "x", 240, 224, (0.0,) * 3, (1.0,) * 3)
    # 480 x 640 becomes 240 x 320; the crop of 224 begins at (48, 8).
    box = Box("block", 0, 0.9, (200 / 2 - 48, 120 / 2 - 8, 440 / 2 - 48, 240 / 2 - 8))
    tab = Tab(chromium, size)
    try:
        with LivePage(0, View(spec)) as page:
            page.sink(processed(picture, [box]))
            tab.page.goto(page.url)
            tab.shows("block 0.90")
            left, top, right, bottom = corners_on_screen(tab, ".over rect.k0")
            pixels = on_screen(tab)
            for x, y in ((left, (top + bottom) / 2), (right, (top + bottom) / 2)):
                assert np.abs(pixels[round(y), round(x) - 1 : round(x) + 1] - BLUE).max(axis=1).min() < 30
            for x, y in (((left + right) / 2, top), ((left + right) / 2, bottom)):
                assert np.abs(pixels[round(y) - 1 : round(y) + 1, round(x)] - BLUE).max(axis=1).min() < 30
            tab.page.evaluate("document.querySelector('.over').style.visibility = 'hidden'")
            block = edges(np.abs(on_screen(tab) - GREEN).max(axis=2) < 60)
            assert np.abs(np.subtract((left, top, right, bottom), block)).max() <= 1.5
            assert block[2] - block[0] > 100
            crop = corners_on_screen(tab, ".over rect.crop")
            canvas = tab.page.locator("canvas").bounding_box()
            assert (crop[0] - canvas["x"]) / canvas["width"] == pytest.approx(96 / 640, abs=0.002)
            assert (crop[3] - crop[1]) / canvas["height"] == pytest.approx(448 / 480, abs=0.002)
            assert tab.complaints == []
    finally:
        tab.context.close()


def test_the_box_moves_with_its_own_picture(tab):
    """Picture and box change between two places: a box on the other picture's block would be seen."""
    pictures = [np.zeros((100, 200, 3), np.uint8) for _ in range(2)]
    pictures[0][20:60, 20:60], pictures[1][20:60, 120:160] = RED, RED
    boxes = [Box("red", 0, 0.9, (20.0 + 100 * place, 20.0, 60.0 + 100 * place, 60.0)) for place in range(2)]
    stop = threading.Event()
    with LivePage(0) as page:

        def feed() -> None:
            for number in itertools.count():
                page.sink(processed(pictures[number % 2], [boxes[number % 2]], number))
                if stop.wait(0.003):
                    return

        thread = threading.Thread(target=feed)
        thread.start()
        try:
            tab.page.goto(page.url)
            tab.shows("red 0.90")
            places = set()
            for _ in range(40):
                # In one step of the browser, so that nothing is drawn in between.
                x, colour = tab.page.evaluate(
                    """() => { const x = Number(document.querySelector("rect.k0").getAttribute("x"));
                    const paper = document.querySelector("canvas").getContext("2d");
                    return [x, Array.from(paper.getImageData(x + 20, 40, 1, 1).data)] }"""
                )
                places.add(x)
                assert np.abs(np.array(colour[:3]) - RED).max() < 60
                tab.page.wait_for_timeout(15)
            assert places == {20, 120}
        finally:
            stop.set()
            thread.join()


def test_text_that_would_be_markup_stays_text(tab, photograph):
    loop = StreamLoop(Scripted(name=HOSTILE), number_of)
    loop.note(HOSTILE, HOSTILE, HOSTILE)
    with LivePage(0, name=HOSTILE) as page:
        page.watch({HOSTILE: loop})
        box = Box(HOSTILE, 0, 0.9, (10.0, 10.0, 90.0, 90.0))
        page.sink(processed(photograph, [box], source=HOSTILE))
        page.sink(processed(np.zeros(3, np.complex64), {HOSTILE: HOSTILE}, source="two"))
        page.sink(processed(photograph, [Label(HOSTILE, 0, 0.5)], source="three"))
        tab.page.goto(page.url)
        tab.page.locator(".answer li").nth(2).wait_for()
        tab.page.locator(".events td").first.wait_for()
        assert tab.page.locator("img").count() == 0
        assert tab.page.title() == HOSTILE
        for where in ("h1", ".source h2", "#loops h2", ".events td:nth-child(2)", ".tag", ".answer li"):
            assert HOSTILE in tab.page.locator(where).first.inner_text(), where
        assert tab.complaints == []


def test_a_dropped_connection_is_survived_and_so_is_a_new_process(tab, photograph):
    with LivePage(0) as page, running(page, labels, photograph):
        port = page.port
        tab.page.goto(page.url)
        wait_for(lambda: tab.page.locator(".answer b").count() and tab.answered() > 5, "answers")
    assert tab.complaints == []
    last = tab.answered()
    tab.shows("no connection, trying again")
    assert tab.answered() >= last  # the last numbers stay
    start_s, asked = time.monotonic(), len(tab.asked)
    wait_for(lambda: tab.page.wait_for_timeout(50) or len(tab.asked) >= asked + 3, "it to try again")
    # One after the other, half a second apart or more.
    assert len(tab.asked) - asked <= 1 + (time.monotonic() - start_s) / 0.5
    tab.complaints.clear()
    with LivePage(port, name="again") as page, running(page, labels, photograph, name="back"):
        tab.page.get_by_text("no connection").wait_for(state="hidden")
        tab.shows("live")
        wait_for(lambda: 0 < tab.answered() < last or tab.answered() > last + 20, "numbers of the new one")
        first = tab.page.locator(".answer b").inner_text()
        wait_for(lambda: tab.page.locator(".answer b").inner_text() != first, "pictures that go on")
        assert tab.page.locator(".source h2").all_inner_texts() == ["back"]  # nothing of the old one
    assert [text for text in tab.complaints if "Failed to load" not in text and "ERR_" not in text] == []


def test_a_server_that_takes_long_is_not_asked_twice(tab):
    """`report` hangs, as under a debugger: one request waits, and the page goes on when it is answered."""
    free = threading.Event()
    loop = StreamLoop(Scripted(), number_of)
    with LivePage(0) as page:
        page.watch(loop)
        tab.page.goto(page.url)
        tab.shows("live")
        real = loop.report
        loop.report = lambda: free.wait() and real()
        tab.page.wait_for_timeout(1000)
        states = [url for url in tab.asked if url.endswith("/state")]
        tab.page.wait_for_timeout(1500)
        assert [url for url in tab.asked if url.endswith("/state")] == states
        free.set()
        with tab.page.expect_response("**/state"):
            pass
        with tab.page.expect_response("**/state"):
            pass
        tab.shows("live")


@pytest.mark.parametrize(
    ("limit_ms", "p50", "p99", "said", "tones"),
    [
        (60, 317.0, 400.0, "running, most answers late", {"age, p50": "bad", "age, p99": "bad", "late answers": "bad"}),
        (60, 20.0, 70.0, "running, some answers late", {"age, p50": "", "age, p99": "warn", "late answers": "warn"}),
        (60, 20.0, 50.0, "running", {"age, p50": "", "age, p99": "", "late answers": ""}),
        (None, 317.0, 400.0, "running", {"age, p50": "", "age, p99": ""}),
    ],
)
def test_late_answers_are_no_green_state(tab, limit_ms, p50, p99, said, tones):
    loop = StreamLoop(Scripted(), number_of)
    report = replace(loop.report(), state="running", age_ms=Spread(100, p50, p99, 500.0))
    loop.report = lambda: report
    with LivePage(0, View(deadline_ms=limit_ms)) as page:
        page.watch(loop)
        tab.page.goto(page.url)
        tab.shows("running")
        badge = tab.page.locator("#loops h2 .badge")
        tone = tones.get("late answers") or "good"
        assert (badge.inner_text(), badge.get_attribute("class")) == (said, f"badge t-{tone}")
        for name, wanted in tones.items():
            found = tab.page.locator(".tiles div", has=tab.page.locator("dt", has_text=re.compile(f"^{name}$")))
            assert (found.get_attribute("class") or "") == (f"t-{wanted}" if wanted else ""), name


def test_what_was_running_when_the_connection_was_lost_is_not_green(tab):
    loop = StreamLoop(Scripted(), number_of)
    report = replace(loop.report(), state="running")
    loop.report = lambda: report
    with LivePage(0) as page:
        page.watch({"front": loop})
        port = page.port
        tab.page.goto(page.url)
        tab.shows("running")
    tab.shows("no connection, trying again")
    assert tab.page.locator("#loops h2").inner_text().split(maxsplit=1) == ["front", "was running"]
    assert tab.page.locator(".t-good").count() == 0
    with LivePage(port) as page:
        page.watch({"front": loop})
        tab.page.get_by_text("was running").wait_for(state="hidden")
        assert tab.page.locator("#loops .t-good").count() == 1


def test_the_end_is_said_and_the_last_numbers_stay(tab):
    loop = StreamLoop(Scripted(*range(7), name="clip.mp4"), number_of, policy=Policy(buffer="fifo"))
    with LivePage(0) as page:
        page.watch(loop)
        tab.page.goto(page.url)
        tab.shows("not started")
        loop.run()
        tab.shows("ended: sources ended")
        wait_for(lambda: tab.answered() == 7, "the last numbers")


def test_a_held_answer_and_a_silent_camera_are_marked(tab, photograph):
    with LivePage(0) as page:
        page.sink(processed(photograph, "good", 1))
        tab.page.goto(page.url)
        tab.shows("frame 1")
        assert tab.page.get_by_text("held: the last good answer").count() == 0
        page.sink(processed(photograph, "good", 2, held=True))
        tab.shows("held: the last good answer")
        tab.shows("ago")  # two seconds without another


def test_what_is_no_longer_found_is_no_longer_shown(tab, photograph):
    cat, dog = (Box(name, 0, 0.9, (10.0, 10.0, 90.0, 90.0)) for name in ("cat", "dog"))
    with LivePage(0) as page:
        page.sink(processed(photograph, [cat, dog]))
        tab.page.goto(page.url)
        tab.shows("dog 0.90")
        page.sink(processed(photograph, [cat]))
        tab.page.get_by_text("dog").first.wait_for(state="hidden")
        assert tab.page.locator(".answer b").all_inner_texts() == ["cat"]
        page.sink(processed(photograph, []))
        tab.shows("nothing found")
        assert tab.page.locator(".over rect").count() == 0


def test_a_sound_is_a_line(tab):
    with LivePage(0) as page:
        for number in range(20):
            chunk = (0.5 * np.sin(np.arange(512) * 2 * np.pi / 64)).astype(np.float32)
            page.sink(processed(chunk, {"speech": np.float32(0.25)}, number))
        tab.page.goto(page.url)
        tab.shows("speech 0.25")
        tab.shows("level -9.0 dBFS")
        points = tab.page.locator(".wave polyline").get_attribute("points").split()
        heights = [float(point.split(",")[1]) for point in points]
        assert len(points) == 480
        assert min(heights) == pytest.approx(0, abs=1)
        assert max(heights) == pytest.approx(130, abs=1)


def test_the_line_of_ages_and_the_deadline_stand_at_their_heights(tab):
    """Ages of 40 and 80 ms with a deadline of 60: the dashed line is between them, in proportion."""
    loop = StreamLoop(Scripted(name="front"), number_of)
    with LivePage(0, View(deadline_ms=60)) as page:
        page.watch(loop)
        for age in (80.0, 40.0):
            page.sink(processed(np.zeros(4, np.float32), 1)._replace(age_ms=age))
            threading.Event().wait(0.6)  # another half second
        tab.page.goto(page.url)
        tab.page.locator(".ages polyline").first.wait_for(state="attached")  # a dot has no width to be visible by
        lines = tab.page.locator(".ages polyline").evaluate_all("all => all.map(one => one.getAttribute('points'))")
        heights = {90 - float(point.split(",")[1]) for line in lines for point in line.split()}
        limit = 90 - float(tab.page.locator(".ages .limit").get_attribute("y1"))
        assert len(heights) == 2
        assert max(heights) / min(heights) == pytest.approx(2, abs=0.02)
        assert limit / min(heights) == pytest.approx(1.5, abs=0.02)
        tab.shows("deadline 60 ms")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE])
def test_it_fits_light_and_dark_at_a_desk_and_on_a_phone(chromium, photograph, tmp_path, size, scheme):
    for name, text in ORIN_NANO_JETPACK_62.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    long = "a" * 200
    tab = Tab(chromium, size, scheme)
    answers = [Box(long, n, 0.9, (300.0 * n, 0.0, 300.0 * n + 300, 300.0)) for n in range(2)]
    with LivePage(0, name="a page", root=tmp_path) as page:
        with running(page, lambda frames: [answers], photograph, Policy(deadline_ms=50)) as loop:
            loop.note("gap", long)
            page.sink(processed(photograph.transpose(1, 0, 2).copy(), [Label(long, 0, 0.5)], source="upright"))
            tab.page.goto(page.url)
            tab.shows("tj-thermal")
            tab.page.locator(".answer li").nth(2).wait_for()
            needs, has = tab.width()
            assert needs == has == size["width"]
            for box in tab.page.locator("canvas").evaluate_all(
                "all => all.map(one => one.getBoundingClientRect().toJSON())"
            ):
                assert box["x"] + box["width"] <= size["width"]
                assert box["height"] <= 0.8 * size["height"] + 1
                assert box["width"] > 100
            back, front = tab.page.evaluate(
                "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
            )
            assert contrast(back, front) > 7  # WCAG 2.2, 1.4.6
            assert (luminance(back) > 0.5) == (scheme == "light")
            for badge in tab.page.locator(".badge").all():
                colours = badge.evaluate("one => [getComputedStyle(one).backgroundColor, getComputedStyle(one).color]")
                assert contrast(*colours) > 4.5  # 1.4.3
        assert tab.complaints == []
    tab.context.close()


def luminance(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)`, WCAG 2.2."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)
