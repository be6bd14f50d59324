// The viewer: opens the pictures of this page at full size; arrows step, space enlarges, Escape closes.
(() => {
  const byId = (name) => document.getElementById(name);
  const stored = JSON.parse(byId("pictures").textContent);
  const links = [...document.querySelectorAll("a.zoom")];
  const viewer = byId("viewer"), frame = byId("viewer-frame"), stage = byId("viewer-stage");
  const image = byId("viewer-image"), original = byId("viewer-original");
  let at = 0, near = false;

  function show(index) {
    at = (index + links.length) % links.length;
    const link = links[at], thumb = link.querySelector("img"), href = link.getAttribute("href");
    const [width, height] = link.dataset.size.split(" ").map(Number);
    const kept = stored[link.dataset.full];
    setPicture(kept || thumb.src, kept ? width : thumb.naturalWidth, kept ? height : thumb.naturalHeight);
    drawMarks(link, width, height, Boolean(kept));
    byId("viewer-caption").textContent = link.title;
    original.hidden = !href;
    if (href) original.href = href;
    if (href && "better" in link.dataset) fetchOriginal(link, href, width, height);
  }

  function setPicture(source, width, height) {
    image.src = source;
    frame.dataset.width = width;
    frame.dataset.height = height;
    fit();
  }

  // The page holds a reduced picture or a crop; beside the page lies the original: show that where it can be read.
  function fetchOriginal(link, href, width, height) {
    const better = new Image();
    better.onload = () => {
      if (links[at] !== link || !viewer.open) return;
      setPicture(href, width, height);
      drawMarks(link, width, height, true);
    };
    better.src = href;
  }

  function drawMarks(link, width, height, whole) {
    frame.querySelectorAll("svg").forEach((old) => old.remove());
    const marks = link.querySelector("svg");
    if (!marks) return;
    const copy = marks.cloneNode(true);
    copy.removeAttribute("style");
    if (whole) copy.setAttribute("viewBox", `0 0 ${width} ${height}`);
    frame.append(copy);
  }

  // The whole picture in the window; whole multiples where it is smaller. Near: at least the picture's own pixels.
  function fit() {
    const width = Number(frame.dataset.width), height = Number(frame.dataset.height);
    if (!width) return;
    let scale = Math.min(stage.clientWidth / width, stage.clientHeight / height);
    if (scale > 1) scale = Math.floor(scale);
    if (near) scale = scale < 1 ? 1 : scale * 3;
    frame.style.width = `${width * scale}px`;
    frame.style.height = `${height * scale}px`;
    frame.classList.toggle("near", near);
    image.classList.toggle("crisp", scale > 1);
  }

  function zoom(event) {
    const box = frame.getBoundingClientRect();
    const middle = (links[at].dataset.middle || "0.5 0.5").split(" ").map(Number);
    const pointed = event && event.currentTarget === frame;
    const x = pointed ? (event.clientX - box.left) / box.width : middle[0];
    const y = pointed ? (event.clientY - box.top) / box.height : middle[1];
    near = !near;
    fit();
    stage.scrollTo(x * frame.offsetWidth - stage.clientWidth / 2, y * frame.offsetHeight - stage.clientHeight / 2);
  }

  const actions = {
    back: () => show(at - 1), on: () => show(at + 1), zoom: () => zoom(null), close: () => viewer.close(),
    first: () => show(0), last: () => show(links.length - 1),
  };
  const keys = { ArrowLeft: "back", ArrowRight: "on", ArrowUp: "back", ArrowDown: "on", Home: "first", End: "last", " ": "zoom", Escape: "close" };

  links.forEach((link, index) => link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    near = false;
    viewer.showModal();
    show(index);
  }));
  viewer.querySelectorAll("button").forEach((button) => button.addEventListener("click", () => actions[button.dataset.do]()));
  frame.addEventListener("click", zoom);
  stage.addEventListener("click", (event) => { if (event.target === stage) viewer.close(); });
  viewer.addEventListener("keydown", (event) => {
    const action = keys[event.key];
    if (!action || (event.key === " " && event.target.tagName === "BUTTON")) return;
    event.preventDefault();
    actions[action]();
  });
  viewer.addEventListener("close", () => links[at].focus({ preventScroll: false }));
  window.addEventListener("resize", fit);
})();
