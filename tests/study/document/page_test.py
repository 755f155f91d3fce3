"""Looks at reports as programs and browsers do.

page_test.py markup FOLDER    every .svg and .html there is well-formed, and no number in it is NaN or infinite
page_test.py browser FOLDER   every .html there works in a headless Chromium; 77 and the reason where there is none
"""
import glob
import html.parser
import os
import re
import sys
import xml.etree.ElementTree as ElementTree

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../support"))
import browser  # noqa: E402

VOID = {"meta", "link", "br", "hr", "img", "wbr"}
PAPER = 680  # what A4 leaves between its margins
NO_NUMBER = re.compile(r"\b(nan|inf|infinity)\b", re.I)
SEEDS, RUNS = re.compile(r"\n\d+ seeds?\b"), re.compile(r"\n\d+ seeds?\nruns?: \w")
NUMBERS = {"d", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height", "transform", "viewBox", "style"}

# Of every chart of the page: its visible drawing, its texts and its marks.
LOOK = """(() => [...document.querySelectorAll('figure')].map((figure) => {
  const box = (e) => { const b = e.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; };
  const shown = [...figure.querySelectorAll('svg.chart')].filter((svg) => svg.getBoundingClientRect().width > 0);
  return { id: figure.id, drawings: shown.length, box: box(shown[0]), caption: box(figure.querySelector('figcaption')),
           texts: [...shown[0].querySelectorAll('text')].map((t) => [t.textContent, ...box(t)]),
           marks: shown[0].querySelectorAll('.mark').length };
}))()"""
# Brings mark `index` of a figure into view; its text, and where it is.
FIND = """(() => {
  const svg = [...document.querySelectorAll('#%s svg.chart')].find((s) => s.getBoundingClientRect().width > 0);
  const mark = svg.querySelectorAll('.mark')[%d];
  mark.scrollIntoView({ block: 'center' });
  const at = (svg.classList.contains('nearest') ? mark.lastElementChild : mark).getBoundingClientRect();
  return [mark.getAttribute('aria-label'), at.left + at.width / 2, at.top + at.height / 2];
})()"""
FOCUS = "[...document.querySelectorAll('#%s .mark')].find((m) => m.tabIndex === 0 && " \
        "m.getBoundingClientRect().width > 0).focus()"
TIP = """(() => {
  const tip = document.getElementById('tip'), b = tip.getBoundingClientRect(), on = document.querySelectorAll('.mark.on');
  return tip.hidden ? null : { text: [...tip.children].map((line) => line.textContent).join('\\n'), left: b.left,
    right: b.right, on: on.length, label: on.length ? on[0].getAttribute('aria-label') : '' };
})()"""


class Failed(Exception):
    pass


def expect(true, words):
    if not true:
        raise Failed(words)


class Balance(html.parser.HTMLParser):
    """Every element is closed, in order."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        expect(self.open and self.open[-1] == tag, f"</{tag}> at {self.getpos()} closes {self.open[-3:]}")
        self.open.pop()


def check_svg(text, name):
    root = ElementTree.fromstring(text)
    for element in root.iter():
        for key, value in element.attrib.items():
            expect(key not in NUMBERS or not NO_NUMBER.search(value), f"{name}: {key}={value!r}")
    expect(any(element.tag.endswith("desc") for element in root.iter()), f"{name} has no <desc>")
    return root


def markup(folder):
    drawings = 0
    for path in sorted(glob.glob(os.path.join(folder, "*.svg"))):
        root = check_svg(open(path, encoding="utf-8").read(), path)
        expect(root.find("{http://www.w3.org/2000/svg}title") is not None, f"{path} has no title")
        drawings += 1
    for path in sorted(glob.glob(os.path.join(folder, "*.html"))):
        text = open(path, encoding="utf-8").read()
        balance = Balance()
        balance.feed(text)
        balance.close()
        expect(not balance.open, f"{path} leaves {balance.open} open")
        for drawing in re.findall(r"<svg.*?</svg>", text, re.S):
            drawings += 1
            if 'class="chart' in drawing:
                check_svg(drawing, path)
            else:
                ElementTree.fromstring(drawing)
        expect(not re.search(r"(src|href)=\"?(https?:)?//", text), f"{path} names something elsewhere")
    expect(drawings > 0, "there is no drawing")
    print(f"{drawings} drawings are well-formed")


def check_layout(page, name, width):
    wide = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    expect(wide[0] <= wide[1], f"{name} is {wide[0]} wide in a window of {wide[1]}")
    charts = page.evaluate(LOOK)
    expect(charts or "overview" in name, f"{name} has no chart")
    for chart in charts:
        where = f"{chart['id']} of {name} at {width}"
        left, top, right, bottom = chart["box"]
        expect(chart["drawings"] == 1, f"{where}: {chart['drawings']} drawings")
        expect(right - left > 200 and bottom - top > 60, f"{where}: {chart['box']}")
        texts = [text for text in chart["texts"] if text[0]]
        for i, (text, l, t, r, b) in enumerate(texts):
            expect(l >= left - 1.5 and r <= right + 1.5 and b <= bottom + 3, f"{where}: {text!r} at {l, t, r, b} stands out of {chart['box']}")
            for other, l2, t2, r2, b2 in texts[:i]:
                # Boxes of text have room above and below the letters.
                expect(min(r, r2) - max(l, l2) < 1 or min(b, b2) - max(t, t2) < 4,
                       f"{where}: {text!r} and {other!r} overlap")
    return charts


def check_hover(page, name, charts):
    page.evaluate("document.documentElement.style.scrollBehavior = 'auto'")
    for chart in charts:
        for index in sorted({0, chart["marks"] // 2, chart["marks"] - 1}):
            if chart["marks"] == 0:
                continue
            label, x, y = page.evaluate(FIND % (chart["id"], index))
            page.mouse(x, y)
            tip = page.evaluate(TIP)
            where = f"mark {index} of {chart['id']} of {name}"
            expect(tip, f"{where}: nothing is shown")
            expect(tip["on"] == 1 and tip["text"] == tip["label"], f"{where}: {tip} instead of {label!r}")
            # Another one may lie at the same place; in the example every point knows its seeds, in a report its runs.
            known = SEEDS if "example" in name else RUNS
            expect("hostile" in name or known.search(tip["text"]), f"{where}: {tip} does not say of what it is")
            width = page.evaluate("document.documentElement.clientWidth")
            expect(tip["left"] >= 0 and tip["right"] <= width, f"{where}: {tip} of {width}")
    page.mouse(1, 1)
    expect(page.evaluate(TIP) is None, f"{name}: what was shown stays when the pointer has left")


def check_keyboard(page, name, chart):
    label, _, _ = page.evaluate(FIND % (chart["id"], 0))
    page.evaluate(FOCUS % chart["id"])
    first = page.evaluate(TIP)
    page.key("ArrowRight")
    second = page.evaluate(TIP)
    expect(first and second and first["text"] != second["text"], f"{name}: arrows lead from {first} to {second}")
    expect(first["text"] == label, f"{name}: {first} is not {label!r}")
    page.key("Escape")
    expect(page.evaluate(TIP) is None, f"{name}: Escape does not hide")


def check_heat_map_keys(page, figure):
    page.evaluate(FOCUS % figure)
    shown = [page.evaluate(TIP)["text"]]
    for key in ("ArrowDown", "ArrowRight"):
        page.key(key)
        shown.append(page.evaluate(TIP)["text"])
    for text, begin in zip(shown, ("SGD batch 32, Replicas 1\n", "SGD batch 32, Replicas 2\n", "SGD batch 64, Replicas 2\n")):
        expect(text.startswith(begin), f"arrows lead to {text!r} instead of {begin!r}")


def in_browser(folder):
    if not browser.program():
        print(f"there is none of {', '.join(browser.PROGRAMS)}; install what launch/packages-test.txt lists")
        sys.exit(77)
    with browser.Browser() as page:
        for path in sorted(glob.glob(os.path.join(folder, "*.html"))):
            name = os.path.basename(path)
            papers = set()
            for width, dark in ((1280, False), (1280, True), (360, False), (360, True)):
                page.open(path, width, dark, touch=width == 360)
                charts = check_layout(page, name, width)
                papers.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
                with_marks = [chart for chart in charts if chart["marks"]]
                if not with_marks:
                    pass
                elif width == 1280:
                    check_hover(page, name, with_marks)
                    check_keyboard(page, name, with_marks[0])
                    if name == "example.html":
                        check_heat_map_keys(page, "figure-5")
                else:
                    _, x, y = page.evaluate(FIND % (with_marks[0]["id"], 0))
                    page.tap(x, y)
                    expect(page.evaluate(TIP), f"{name}: a tap shows nothing")
                expect(not page.errors(), f"{name} at {width}: {page.errors()}")
                expect(not page.evaluate("window.injected"), f"{name}: text of others was run")
            expect(len(papers) == 2, f"{name}: one colour in both schemes: {papers}")
            page.call("Emulation.setEmulatedMedia", media="print")
            page.call("Emulation.setDeviceMetricsOverride", width=PAPER, height=900, deviceScaleFactor=1, mobile=False)
            check_layout(page, name + " on paper", PAPER)
            print(f"{name}: {len(charts)} charts, {sum(chart['marks'] for chart in charts)} marks")


if __name__ == "__main__":
    try:
        {"markup": markup, "browser": in_browser}[sys.argv[1]](sys.argv[2])
    except Failed as failed:
        print(failed)
        sys.exit(1)
