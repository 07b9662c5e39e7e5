// The page works without this script. It reloads every few seconds while the tab is visible, and copies commands.
"use strict";

const EVERY = 5000;

function adorn() {
  for (const button of document.querySelectorAll("button.copy")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.onclick = async () => {
      await navigator.clipboard.writeText(button.previousElementSibling.textContent);
      name(button, "Copied");
      setTimeout(() => name(button, "Copy"), 1500);
    };
  }
}

function name(button, word) {
  button.textContent = word;
  button.setAttribute("aria-label", `${word} ${button.previousElementSibling.textContent}`);
}

function busy() {
  const main = document.getElementById("main");
  const open = main.querySelector("details[open]");
  const chosen = window.getSelection && String(window.getSelection());
  const edited = [...main.querySelectorAll("option")].some((one) => one.selected !== one.defaultSelected)
    || [...main.querySelectorAll("input")].some((one) => one.value !== one.defaultValue);
  return document.hidden || open || chosen || edited || main.contains(document.activeElement);
}

async function lookAgain() {
  if (busy()) return;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (busy()) return;
    document.getElementById("main").replaceWith(fresh.getElementById("main"));
    document.title = fresh.title;
    document.body.classList.remove("stale");
    adorn();
  } catch {
    document.body.classList.add("stale");
  }
}

adorn();
setInterval(lookAgain, EVERY);
