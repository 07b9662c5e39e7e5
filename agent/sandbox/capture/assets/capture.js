// Optional comforts of the capture page: a camera inside the page, a preview of the chosen picture, and protection
// against a second submission by a double click. Only the forms of the page send data.
"use strict";

// Every link has the same address. Its token follows `#/artifact=`, and browsers do not send that part to servers.
if (document.querySelector("[data-start]")) {
  const token = /^#\/artifact=([A-Za-z0-9_-]+)$/.exec(location.hash)?.[1];
  location.replace(location.pathname + (token ?? "incomplete"));
}

for (const form of document.forms) {
  form.addEventListener("submit", () => {
    // After this turn, so that the pressed button's own value is still sent.
    setTimeout(() => form.querySelectorAll("button").forEach((button) => { button.disabled = true; }));
  });
}
// A page that comes back out of the browser's memory has its buttons again.
addEventListener("pageshow", () => document.querySelectorAll("button").forEach((button) => { button.disabled = false; }));

const form = document.querySelector("form[data-picture]");
if (form) {
  const part = (selector) => form.querySelector(selector);
  const file = part("input[type=file]"), image = part("img"), video = part("video"), empty = part(".empty");
  const camera = part("[data-camera]"), shutter = part("[data-shutter]"), ways = part("[data-ways]");
  const actions = part(".actions"), said = part("[data-said]");
  let stream = null;

  const show = (what) => {
    for (const element of [image, video, empty]) element.hidden = element !== what;
    const live = what === video;
    part("[data-viewfinder]").classList.toggle("live", live);
    shutter.hidden = !live;
    ways.hidden = actions.hidden = live;
  };
  const resting = () => show(image.getAttribute("src") ? image : empty);
  const preview = () => {
    if (!file.files.length) return;
    if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(file.files[0]);
    show(image);
    said.textContent = `Chosen: ${file.files[0].name}`;
  };
  const close = () => {
    stream?.getTracks().forEach((track) => track.stop());
    stream = video.srcObject = null;
  };

  file.addEventListener("change", preview);
  image.addEventListener("error", () => {
    image.removeAttribute("src");
    resting();
    said.textContent = "This file cannot be shown as a picture.";
  });
  if (camera && navigator.mediaDevices?.getUserMedia && window.DataTransfer) camera.hidden = false;

  camera?.addEventListener("click", async () => {
    const wanted = { facingMode: camera.dataset.camera, width: { ideal: 1920 }, height: { ideal: 1280 } };
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
    } catch {
      said.textContent = "The camera cannot be used. Choose a picture instead.";
      return;
    }
    video.srcObject = stream;
    await video.play();
    said.textContent = "The camera is on.";
    show(video);
    part("[data-shoot]").focus();
  });
  part("[data-stop]").addEventListener("click", () => {
    close();
    resting();
    said.textContent = "";
    camera.focus();
  });
  part("[data-shoot]").addEventListener("click", () => {
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => {
      const chosen = new DataTransfer();
      chosen.items.add(new File([blob], "camera.jpg", { type: "image/jpeg" }));
      file.files = chosen.files;
      close();
      preview();
      part(".actions button").focus();
    }, "image/jpeg", 0.9);
  });
  addEventListener("pagehide", close);
}
