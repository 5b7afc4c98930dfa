"use strict";
const at = (id) => document.getElementById(id);
const maxBytes = Number(at("state").dataset.maxBytes);
let asked = 0, stream = null;

function say(text, bad = false) {
  at("state").textContent = text;
  at("state").classList.toggle("bad", bad);
}

function show(answer, photo) {
  at("label").textContent = answer.label;
  at("top").replaceChildren(...answer.top.map((one) => {
    const row = document.createElement("tr"), name = document.createElement("th"), value = document.createElement("td");
    const bar = document.createElement("span");
    name.scope = "row";
    name.textContent = one.class;
    bar.className = "bar";
    bar.style.width = `${100 * one.probability}%`;
    name.append(bar);
    value.className = "n";
    value.textContent = `${(100 * one.probability).toFixed(1)} %`;
    row.append(name, value);
    return row;
  }));
  URL.revokeObjectURL(at("photo").src);
  at("photo").src = URL.createObjectURL(photo);
  at("overlay").hidden = !answer.overlay;
  if (answer.overlay) at("heat").src = answer.overlay;
  at("neighbours").hidden = !answer.neighbours.length;
  at("near").replaceChildren(...answer.neighbours.map((one) => {
    const image = document.createElement("img");
    image.src = one.picture;
    image.alt = image.title = one.label;
    return image;
  }));
  at("result").hidden = false;
  at("label").focus({ preventScroll: true });
  at("result").scrollIntoView({ block: "nearest" });
}

async function classify(photo) {
  const number = ++asked;
  at("result").hidden = true;
  if (photo.size > maxBytes) return say(`This file is larger than ${maxBytes / 1e6} MB.`, true);
  say("Looking…");
  const form = new FormData();
  form.append("file", photo, "photo");
  let response, answer;
  try {
    response = await fetch("/predict?explain=true", { method: "POST", body: form });
    answer = await response.json();
  } catch {
    return number === asked && say("The server does not answer. Is it still running?", true);
  }
  // A later photo may have been faster.
  if (number !== asked) return;
  if (!response.ok) return say(answer.detail, true);
  say("");
  show(answer, photo);
}

function first(transfer) {
  const file = [...transfer.files].find((one) => one.type.startsWith("image/")) || transfer.files[0];
  if (file) classify(file);
  else say("That is no file: drop or paste a photo.", true);
}

for (const id of ["file", "capture"]) at(id).addEventListener("change", (event) => {
  if (event.target.files[0]) classify(event.target.files[0]);
  event.target.value = "";
});
addEventListener("paste", (event) => first(event.clipboardData));
for (const name of ["dragover", "dragleave", "drop"]) addEventListener(name, (event) => {
  event.preventDefault();
  at("drop").classList.toggle("over", name === "dragover");
  if (name === "drop") first(event.dataTransfer);
});

function closeCamera() {
  if (stream) stream.getTracks().forEach((track) => track.stop());
  stream = null;
  at("viewfinder").hidden = true;
}

at("camera").addEventListener("click", async () => {
  // Browsers give the camera to pages of this machine or of https only; phones take a photo for the file field.
  if (!navigator.mediaDevices) return at("capture").click();
  try {
    closeCamera();
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    return say(`No camera: ${error.message}.`, true);
  }
  say("");
  at("viewfinder").hidden = false;
  at("shoot").disabled = true;
  at("video").srcObject = stream;
  await at("video").play();
  at("shoot").disabled = false;
  at("shoot").focus();
});
at("close").addEventListener("click", () => { closeCamera(); at("camera").focus(); });
at("shoot").addEventListener("click", () => {
  const video = at("video"), canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  closeCamera();
  canvas.toBlob((photo) => classify(photo), "image/png");
});
