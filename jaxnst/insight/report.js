"use strict";
// Shows, for the patch under the pointer, the most similar one of the painting.
(() => {
  const data = JSON.parse(document.getElementById("correspondence").textContent);
  const stage = document.getElementById("stage");
  if (!stage) return;
  const picture = stage.querySelector("img");
  const sources = [...document.querySelectorAll(".source")];
  const say = document.getElementById("said");
  const [here, there] = ["here", "there"].map((id) => document.getElementById(id));
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const scales = data.scales.map((scale) => ({
    ...scale,
    places: new Uint16Array(bytes(scale.places).buffer),
    styles: bytes(scale.styles),
    similar: bytes(scale.similar),
  }));
  let current = 0;
  let at = data.start;

  const frame = (box, y, x, patch, shape) => {
    let mark = box.querySelector(".frame");
    if (!mark) {
      mark = document.createElement("div");
      mark.className = "frame";
      box.append(mark);
    }
    mark.style.left = `${(100 * (x - patch / 2)) / shape[1]}%`;
    mark.style.top = `${(100 * (y - patch / 2)) / shape[0]}%`;
    mark.style.width = `${(100 * patch) / shape[1]}%`;
    mark.style.height = `${(100 * patch) / shape[0]}%`;
  };
  const magnify = (canvas, image, y, x, patch, shape) => {
    const scale = image.naturalWidth / shape[1];
    const brush = canvas.getContext("2d");
    brush.clearRect(0, 0, canvas.width, canvas.height);
    brush.drawImage(
      image, (x - patch) * scale, (y - patch) * scale, 2 * patch * scale,
      2 * patch * scale, 0, 0, canvas.width, canvas.height);
    const inner = canvas.width / 4;
    brush.strokeStyle = "#fff";
    brush.lineWidth = 2;
    brush.strokeRect(inner, inner, 2 * inner, 2 * inner);
  };
  const show = (y, x) => {
    const scale = scales[current];
    const near = (value, first, count) =>
      Math.max(0, Math.min(count - 1, Math.round((value - first) / scale.stride)));
    const row = near(y, scale.first[0], scale.rows);
    const column = near(x, scale.first[1], scale.columns);
    const index = row * scale.columns + column;
    const middle = [
      scale.first[0] + row * scale.stride, scale.first[1] + column * scale.stride];
    const source = [scale.places[2 * index], scale.places[2 * index + 1]];
    const style = scale.styles[index];
    at = [y, x];
    frame(stage, ...middle, scale.patch, data.shape);
    sources.forEach((box, number) => {
      if (number === style) {
        frame(box, ...source, scale.patch, data.styles[number]);
        magnify(there, box.querySelector("img"), ...source, scale.patch,
          data.styles[number]);
      } else {
        box.querySelector(".frame")?.remove();
      }
    });
    magnify(here, picture, ...middle, scale.patch, data.shape);
    const percent = Math.round((100 * scale.similar[index]) / 255);
    const which = sources.length > 1 ? ` of painting ${style + 1}` : "";
    say.textContent =
      `The most similar patch, ${scale.patch} px wide, is at ` +
      `${source[1]}, ${source[0]}${which}: similarity ${percent} % at ${scale.layer}.`;
    stage.dataset.source = `${style} ${source[0]} ${source[1]}`;
  };
  const point = (event) => {
    const box = picture.getBoundingClientRect();
    show(((event.clientY - box.top) / box.height) * data.shape[0],
      ((event.clientX - box.left) / box.width) * data.shape[1]);
  };
  stage.addEventListener("pointermove", point);
  stage.addEventListener("pointerdown", point);
  stage.addEventListener("keydown", (event) => {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1],
      ArrowRight: [0, 1] }[event.key];
    if (!move) return;
    event.preventDefault();
    const step = 2 * scales[current].stride;
    show(Math.max(0, Math.min(data.shape[0], at[0] + step * move[0])),
      Math.max(0, Math.min(data.shape[1], at[1] + step * move[1])));
  });
  const buttons = [...document.querySelectorAll(".switch button")];
  buttons.forEach((button, number) => button.addEventListener("click", () => {
    current = number;
    buttons.forEach((other) => other.setAttribute("aria-pressed", other === button));
    show(...at);
  }));
  const images = [picture, ...sources.map((box) => box.querySelector("img"))];
  Promise.all(images.map((image) => image.decode())).then(() => show(...at));
})();
