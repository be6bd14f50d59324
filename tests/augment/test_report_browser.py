"""The report's viewer in a real browser, where Chromium is at hand: click, arrows, space, Escape."""
import json
import re
import shutil
import subprocess

import pytest

from tests.augment.report_run import Run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
STEPS = """
<script>
const part = (name) => document.getElementById(name), seen = [], viewer = part("viewer");
const look = () => seen.push([viewer.open, part("viewer-caption").textContent, part("viewer-image").naturalWidth,
                              viewer.querySelectorAll("svg").length, part("viewer-frame").offsetWidth]);
const press = (key) => viewer.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
const wait = () => new Promise((done) => setTimeout(done, 400));
(async () => {
  document.querySelectorAll("a.zoom")[1].click(); await wait(); look();
  press("ArrowRight"); await wait(); look();
  press(" "); await wait(); look();
  press("Escape"); await wait(); look();
  document.body.dataset.seen = JSON.stringify(seen);
})();
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine to look at the page with")
@pytest.mark.parametrize("reduced", [False, True])
def test_viewer(tmp_path, monkeypatch, reduced):
    if reduced:
        monkeypatch.setattr("core.augment.report.FULL_BYTES", 20_000)      # far too little for these pictures
    run = Run(tmp_path / "out ü", count=2, size=(300, 200))
    page = run.report()
    stored = re.search(r'"image 0": "data:image/(\w+)', page)[1]
    assert stored == ("jpeg" if reduced else "png")
    (run.folder / "driven.html").write_text(page.replace("</body>", STEPS), encoding="utf-8")
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}",
         "--window-size=1000,700", "--virtual-time-budget=20000", "--dump-dom", (run.folder / "driven.html").as_uri()],
        capture_output=True, text=True, timeout=120)
    seen = json.loads(re.search(r'data-seen="(.*?)"', done.stdout)[1].replace("&quot;", '"'))
    assert seen[0][:4] == [True, "spur, image 0: defect", 300, 0]           # all the picture's pixels, reduced or not
    assert seen[1][:4] == [True, "spur, image 0: label", 300, 1]
    assert seen[2][4] > seen[1][4] >= 300
    assert seen[3][0] is False
