// Pointing at a chart tells the nearest point. Nothing else on the page needs a script.
const tip = document.getElementById("tip");
for (const chart of document.querySelectorAll("svg[data-points]")) {
  const points = JSON.parse(chart.dataset.points);
  if (!points.length) continue;
  chart.insertAdjacentHTML("beforeend", '<circle class="dot plain" r="5" style="display: none"/>');
  const dot = chart.lastElementChild;
  chart.addEventListener("pointermove", (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse());
    const far = ([x, y]) => (x - at.x) ** 2 + (y - at.y) ** 2;
    const [x, y, text] = points.reduce((best, point) => (far(point) < far(best) ? point : best));
    dot.setAttribute("cx", x);
    dot.setAttribute("cy", y);
    dot.style.display = "";
    tip.textContent = text;
    tip.hidden = false;
    const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(left, 8)}px`;
    tip.style.top = `${Math.max(event.clientY - tip.offsetHeight - 12, 8)}px`;
  });
  chart.addEventListener("pointerleave", () => {
    tip.hidden = true;
    dot.style.display = "none";
  });
}
