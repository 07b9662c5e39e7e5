// The faults of a page: texts too pale for their ground (4.5:1, WCAG AA) or in no landmark, fields and pictures
// without words, targets lower than 44 px, pages wider than the window, anything from elsewhere. An empty list is good.
() => {
  const found = [];
  const channel = (value) => (value / 255 <= 0.04045 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const colour = numbers(getComputedStyle(element).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const words = (element) => (element.ariaLabel || element.textContent).trim();

  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = texts.nextNode());) {
    const element = node.parentElement;
    if (!node.textContent.trim() || !element.checkVisibility() || element.closest("script, option")) continue;
    const [pale, dark] = [getComputedStyle(element).color, null]
      .map((colour) => light(colour ? numbers(colour) : ground(element))).sort((a, b) => b - a);
    const contrast = (pale + 0.05) / (dark + 0.05);
    if (!element.closest("header, main, footer")) found.push(`in no landmark: ${node.textContent.trim()}`);
    if (contrast < 4.5) found.push(`contrast ${contrast.toFixed(2)}: ${node.textContent.trim()}`);
  }
  for (const field of document.querySelectorAll("input, select")) {
    if (!field.labels.length || !words(field.labels[0])) found.push(`no label: ${field.name}`);
  }
  for (const image of document.querySelectorAll("img")) if (!image.alt) found.push("a picture without words");
  for (const target of document.querySelectorAll("button, .button, .choice, .file label, select")) {
    const height = target.getBoundingClientRect().height;
    if (target.checkVisibility() && height < 44) found.push(`only ${height} px high: ${words(target)}`);
  }
  if (document.querySelectorAll("h1").length !== 1) found.push("not one heading");
  if (!document.querySelector("main") || !document.documentElement.lang) found.push("no main, or no language");
  for (const element of document.querySelectorAll("body *")) {
    const right = element.getBoundingClientRect().right;
    if (right > innerWidth && !element.classList.contains("unseen")) found.push(`sticks out: ${element.tagName} ${words(element)}`);
  }
  for (const one of performance.getEntriesByType("resource")) {
    const url = new URL(one.name);
    if (url.host !== location.host && url.protocol !== "blob:") found.push(`from elsewhere: ${one.name}`);
  }
  return found;
}
