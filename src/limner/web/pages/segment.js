// A person gives an image and sees its mask. The image is sent as it is; the mask comes back as polygons.
const find = (id) => document.getElementById(id);
const COLOURS = ["#009e73", "#e69f00", "#56b4e9", "#cc79a7", "#f0e442", "#0072b2", "#d55e00", "#999999"]; // told apart whatever one's sight
const SVG = "http://www.w3.org/2000/svg";
let shown = null; // the file on the stage
let asked = 0; // of several answers the last one that was asked for counts

function address() {
  const options = new URLSearchParams({ model: find("model").value });
  if (find("threshold").value) options.set("threshold", find("threshold").value);
  return `/v1/segment?${options}`;
}

function say(text, bad = false) {
  find("status").textContent = text;
  find("status").className = bad ? "bad" : "";
}

async function ask(accept) {
  const answer = await fetch(address(), { method: "POST", body: shown, headers: { Accept: accept, "Content-Type": shown.type || "application/octet-stream" } });
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({ error: `the service answered ${answer.status}.` }));
    throw new Error(problem.error);
  }
  return answer;
}

async function segment() {
  if (!shown) return;
  const mine = ++asked;
  say("Working …");
  try {
    const found = await (await ask("application/json")).json();
    const png = await (await ask("image/png")).blob();
    if (mine === asked) draw(found, png);
  } catch (error) {
    if (mine !== asked) return;
    clear();
    say(error.message || "the service cannot be reached.", true);
  }
}

function clear() {
  find("mask").replaceChildren();
  find("classes").hidden = find("save").hidden = true;
}

function draw(found, png) {
  clear();
  find("mask").setAttribute("viewBox", `0 0 ${found.width} ${found.height}`);
  const rows = [];
  found.classes.forEach((one, index) => {
    const colour = COLOURS[index % COLOURS.length];
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", one.polygons.map((ring) => `M${ring.map((point) => point.join(" ")).join("L")}Z`).join(""));
    path.setAttribute("fill", colour);
    path.setAttribute("stroke", colour);
    find("mask").append(path);
    const row = document.createElement("tr");
    const swatch = document.createElement("i");
    swatch.style.background = colour;
    for (const text of [one.class, one.area_px.toLocaleString(), `${(100 * one.share).toFixed(1)} %`]) {
      const cell = document.createElement("td");
      cell.textContent = text;
      cell.className = row.childElementCount ? "number" : "";
      row.append(cell);
    }
    row.firstChild.prepend(swatch);
    rows.push(row);
  });
  find("classes").tBodies[0].replaceChildren(...rows);
  find("classes").hidden = false;
  URL.revokeObjectURL(find("save").href);
  find("save").href = URL.createObjectURL(png);
  find("save").hidden = false;
  opacity();
  const dice = found.predicted_dice === null ? "" : `predicted Dice ${found.predicted_dice.toFixed(2)} · `;
  const unusual = found.unusual ? " · unlike the training images" : "";
  say(`${dice}${found.width}×${found.height} px · ${Math.round(found.timing_ms.work)} ms${unusual}`);
}

function opacity() {
  for (const path of find("mask").children) path.setAttribute("fill-opacity", find("opacity").value / 100);
}

function take(file) {
  if (!file) return;
  shown = file;
  clear();
  URL.revokeObjectURL(find("image").src);
  find("image").src = URL.createObjectURL(file);
  find("hint").hidden = true;
  find("stage").hidden = false;
  segment();
}

find("image").addEventListener("error", () => say("The browser cannot show this file; its mask is drawn all the same."));
find("file").addEventListener("change", (event) => take(event.target.files[0]));
find("model").addEventListener("change", segment);
find("threshold").addEventListener("change", segment);
find("opacity").addEventListener("input", opacity);
find("drop").addEventListener("keydown", (event) => {
  if (event.key === "Enter" || event.key === " ") find("file").click();
});
for (const name of ["dragover", "dragleave", "drop"]) {
  addEventListener(name, (event) => {
    event.preventDefault();
    find("drop").classList.toggle("over", name === "dragover");
    if (name === "drop") take(event.dataTransfer.files[0]);
  });
}
addEventListener("paste", (event) => take([...event.clipboardData.files][0]));
