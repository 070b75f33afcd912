// What every page does: clocks, keys, dialogs, the drawer, copying, toasts, live regions.
//
//   <time datetime>              "12 min ago"; data-since: a clock; data-clock: 14:05 (="s": 14:05:12); data-due: tomorrow 14:05
//   <a hx-target="#dialog">      what comes is shown as a dialog; [data-close] in it closes it, and so
//                                does sending a form[data-closes], whose answer is a download
//   <a hx-target="#drawer">      what comes opens at the side, on a wide screen; else the link is followed
//   <button data-copy="ID">      copies the text of that element; without words it has a second icon for "Copied"
//   <button data-act="?" hidden> does what that key does
//   <details class="menu">       closes by Esc, a click elsewhere, or a choice
//   data-key="n", "g b"          pressed for a link; data-find: the field of `/`; data-primary: the
//                                button of Ctrl+Enter; tr[data-row] a: j, k and Enter
//   <input data-all="row">       checks all others of that name, and lets them go
//   [data-confirm]               leaving is asked about (upload.js)

const html = document.documentElement;
const dialog = document.getElementById("dialog");
const drawer = document.getElementById("drawer");
const toast = document.getElementById("toast");
const wide = matchMedia("(width >= 1100px)");
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// Clocks: the server writes them for those without scripts, the page keeps them going.

const two = (number) => String(number).padStart(2, "0");
const clock = (then) => `${two(then.getHours())}:${two(then.getMinutes())}`;

function ago(then, now) {
  const seconds = Math.max(0, Math.floor((now - then) / 1000));
  for (const [limit, size, unit] of [[60, 1, "s"], [3600, 60, "min"], [86400, 3600, "h"], [604800, 86400, "d"]])
    if (seconds < limit) return `${Math.floor(seconds / size)} ${unit} ago`;
  return then.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
}

function since(then, now) {
  const seconds = Math.max(0, Math.floor((now - then) / 1000));
  const [hours, minutes, left] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${left} s` : `${left} s`;
}

function due(then, now) {
  const days = Math.round((new Date(then).setHours(0, 0, 0, 0) - new Date(now).setHours(0, 0, 0, 0)) / 864e5);
  const day = { 0: "today", 1: "tomorrow" }[days] ?? then.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  return `${day} ${clock(then)}`;
}

function tell(time) {
  const then = new Date(time.dateTime), now = new Date(), kind = time.dataset;
  const text = "since" in kind ? since(then, now) : "clock" in kind ? clock(then) + (kind.clock ? `:${two(then.getSeconds())}` : "") : "due" in kind ? due(then, now) : ago(then, now);
  if (time.textContent !== text) time.textContent = text;
  if (time.title) time.title = then.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "long" });
}

$$(".tabs [aria-current]").forEach((tab) => tab.scrollIntoView({ block: "nearest" }));
$$("time[datetime]").forEach(tell);
setInterval(() => $$("time[datetime]:not([data-since])").forEach(tell), 30_000);
setInterval(() => $$("time[data-since]").forEach(tell), 1_000);

// Toasts: one at a time, for six seconds, longer while somebody looks at it.

let hiding;
export function say(text) {
  toast.innerHTML = "";
  if (text) toast.append(Object.assign(document.createElement("p"), { className: "note", textContent: text }));
  clearTimeout(hiding);
  hiding = setTimeout(() => (toast.matches(":hover, :focus-within") ? say(text) : say("")), 6_000);
}
document.body.addEventListener("say", (event) => say(event.detail.value));
if (toast?.children.length) hiding = setTimeout(() => say(""), 6_000);

// Dialogs and the drawer.

let opener;
function closeDrawer() {
  if (!drawer || drawer.hidden) return false;
  drawer.hidden = true;
  drawer.innerHTML = "";
  $$("tr[aria-selected]").forEach((row) => row.removeAttribute("aria-selected"));
  if (drawer.dataset.back) history.pushState({ htmx: true }, "", drawer.dataset.back);
  opener?.focus();
  return true;
}

// A link that is opened in a tab of its own is the browser's.
document.addEventListener("click", (event) => {
  if ((event.ctrlKey || event.metaKey || event.shiftKey) && event.target.closest("a[hx-get]")) event.stopPropagation();
}, true);

document.body.addEventListener("htmx:beforeRequest", (event) => {
  const { target, elt } = event.detail;
  if (target === drawer && drawer) {
    if (!wide.matches && elt.href) { event.preventDefault(); location.href = elt.href; return; }
    if (drawer.hidden) drawer.dataset.back = location.pathname + location.search;
    const listed = $$("main a[hx-target='#drawer']").find((link) => link.pathname === elt.pathname);
    opener = drawer.contains(elt) ? listed ?? opener : elt;
  }
});

document.body.addEventListener("htmx:afterSwap", (event) => {
  const { target } = event.detail;
  $$("time[datetime]", target).forEach(tell);
  if (target === dialog && !dialog.open) dialog.showModal();
  if (target === drawer) {
    drawer.hidden = false;
    drawer.scrollTop = 0;
    $$("tr[data-row]").forEach((row) => row.toggleAttribute("aria-selected", row.contains(opener)));
    $$("tr[aria-selected]").forEach((row) => row.setAttribute("aria-selected", "true"));
  }
});

dialog?.addEventListener("close", () => { dialog.innerHTML = ""; });

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-close]");
  if (button?.closest("dialog")) { event.preventDefault(); button.closest("dialog").close(); }
  else if (button?.closest("#drawer")) { event.preventDefault(); closeDrawer(); }
  $$("details.menu[open]").forEach((menu) => {
    if (!menu.contains(event.target) || event.target.closest(".menu a")) menu.open = false;
  });
  const copy = event.target.closest("[data-copy]");
  if (copy) copyFrom(copy);
});

document.addEventListener("change", ({ target }) => {
  if (target.matches("[data-all]")) $$(`input[name="${target.dataset.all}"]`).forEach((one) => { one.checked = target.checked; });
});

document.addEventListener("submit", ({ target }) => {
  if (target.matches("dialog [data-closes]")) setTimeout(() => target.closest("dialog").close());
});

async function copyFrom(button) {
  await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
  const label = button.querySelector("span") ?? button, before = label.textContent;
  if (before === "Copied") return;
  const { title } = button;
  button.classList.add("copied");
  label.textContent = button.title = "Copied";
  setTimeout(() => { button.classList.remove("copied"); label.textContent = before; button.title = title; }, 2_000);
}

// Live regions keep what was opened and where the focus is, and say when they are not fresh.

let kept;
document.body.addEventListener("htmx:beforeSwap", ({ detail: { target } }) => {
  const focus = target.contains(document.activeElement) ? document.activeElement.id : "";
  kept = { open: $$("details[open][id]", target).map((one) => one.id), focus };
});
document.body.addEventListener("htmx:afterSettle", () => {
  if (!kept) return;
  kept.open.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
  if (kept.focus) document.getElementById(kept.focus)?.focus({ preventScroll: true });
  $$("time[datetime]").forEach(tell);
  kept = undefined;
});

// What a live region has changed flashes once: the cells of a row by its first id, figures by name.

const cells = () => new Map($$("main tr:has([id]) > td:not(.name, :has(time)), main .stats dd").map((cell) => [
  cell.previousElementSibling?.matches("dt") ? cell.previousElementSibling.textContent : `${cell.parentElement.querySelector("[id]").id} ${cell.cellIndex}`,
  cell,
]));
const words = (cell) => cell.textContent.replace(/\s+/g, " ").trim();
let before;
document.body.addEventListener("htmx:beforeSwap", ({ detail: { target } }) => {
  const lives = target.getAttribute("hx-trigger")?.startsWith("every");
  before = lives && new Map([...cells()].map(([name, cell]) => [name, words(cell)]));
});
document.body.addEventListener("htmx:afterSettle", () => {
  if (!before) return;
  for (const [name, cell] of cells()) cell.classList.toggle("changed", before.has(name) && before.get(name) !== words(cell));
  before = undefined;
});

const stale = ({ detail: { elt } }) => {
  if (elt.getAttribute("hx-trigger")?.startsWith("every"))
    elt.dataset.stale = `Could not refresh (${clock(new Date())}). Trying again.`;
  else say("The server does not answer. Try again.");
};
document.body.addEventListener("htmx:responseError", stale);
document.body.addEventListener("htmx:sendError", stale);
document.body.addEventListener("htmx:beforeOnLoad", ({ detail: { elt, xhr } }) => { if (xhr.status < 400) delete elt.dataset.stale; });

// Keys. Single letters can be switched off.

let leading = "";
function step(by) {
  const rows = $$("tr[data-row]"), links = rows.map((row) => row.querySelector("a"));
  const current = rows.findIndex((row) => row.hasAttribute("aria-selected") || row.contains(document.activeElement));
  const next = links[Math.min(Math.max(current + by, 0), links.length - 1)];
  if (!next) return;
  next.focus();
  next.scrollIntoView({ block: "nearest" });
  if (drawer && !drawer.hidden) next.click();
}

const acts = {
  "/": () => document.querySelector("[data-find]")?.focus(),
  "?": () => document.getElementById("keys")?.showModal(),
  j: () => step(1),
  k: () => step(-1),
};

$$("[data-act]").forEach((button) => { button.hidden = false; button.addEventListener("click", acts[button.dataset.act]); });

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    const button = event.target.closest("form")?.querySelector("[data-primary]") ?? document.querySelector("[data-primary]");
    if (button && !button.disabled) { event.preventDefault(); button.click(); }
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    const menu = document.querySelector("details.menu[open]");
    if (menu) { menu.open = false; menu.querySelector("summary").focus(); }
    else if (!document.querySelector("dialog[open]")) closeDrawer();
    return;
  }
  if (html.dataset.keys === "off" || event.target.closest("input, textarea, select, dialog") || event.key.length > 1) return;
  const link = document.querySelector(`a[data-key="${CSS.escape(leading ? `${leading} ${event.key}` : event.key)}"]`);
  leading = event.key === "g" && !leading ? "g" : "";
  if (link) link.click();
  else if (acts[event.key]) { event.preventDefault(); acts[event.key](); }
});
