// A live answer: read over a websocket, shown as it is written, checked to the character.
//
//   article[data-live]    a turn that is being written: the path of its socket (docs/live.md)
//     data-turn           where the server draws it: asked for at its end, or without a socket
//     data-length         how much of it the server has drawn, in UTF-16 units as everywhere here
//     data-elapsed        milliseconds since it was asked
//   template#live-KIND    what a block of the answer is made of; [data-grows] takes its text
//   [data-plain]          shows an answer as it was written, and back
//   [data-stop]           is pressed by Ctrl+.

const root = document.documentElement;
const READ = { text_delta: "text", thinking_delta: "thinking", input_json_delta: "partial_json" };
const KINDS = { text: "text", thinking: "thinking", tool_use: "tool", server_tool_use: "tool", mcp_tool_use: "tool" };
const [FIRST_WAIT, LONGEST_WAIT, SILENCE, POLL] = [250, 30_000, 20_000, 2_000];
let impossible = !("WebSocket" in window);

// The end of the page is followed as long as the reader is there.

let following = true;
const pill = () => document.getElementById("new-text");
const isAtEnd = () => innerHeight + scrollY >= root.scrollHeight - 48;
const toEnd = () => scrollTo(0, root.scrollHeight);

function grown() {
  if (following) toEnd();
  else if (pill()) pill().hidden = isAtEnd();
}

addEventListener("scroll", () => {
  following = isAtEnd();
  if (following && pill()) pill().hidden = true;
}, { passive: true });

class Live {
  constructor(article) {
    this.article = article;
    [this.seq, this.length, this.pieces, this.blocks] = [0, 0, [], new Map()];
    [this.tries, this.gaps, this.tokens, this.heard] = [0, 0, 0, Date.now()];
    this.began = performance.now() - Number(article.dataset.elapsed);
    // Drawn anew aside, and put in once there is as much of it as the server has drawn.
    this.drawn = Number(article.dataset.length);
    this.sheet = Object.assign(document.createElement("div"), { className: "blocks" });
    this.ticking = setInterval(() => this.tick(), 250);
    if (impossible) this.poll();
    else this.connect();
  }

  // The socket.

  connect() {
    clearTimeout(this.waiting);
    const old = this.socket;
    this.socket = undefined;
    old?.close();
    this.heard = Date.now();
    const socket = new WebSocket(`${location.origin.replace("http", "ws")}${this.article.dataset.live}?after=${this.seq}`);
    this.socket = socket;
    socket.onopen = () => { this.opened = true; };
    socket.onmessage = ({ data }) => { if (this.socket === socket) this.take(JSON.parse(data)); };
    socket.onclose = ({ code }) => { if (this.socket === socket) this.lost(code); };
  }

  lost(code) {
    this.socket = undefined;
    if (code === 4404) { this.say("You cannot read this any more"); this.leave(); return; }
    this.tries += 1;
    if (!this.opened && this.tries >= 3 && navigator.onLine) { this.poll(); return; }
    this.say("Reconnecting… nothing is lost");
    const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** (this.tries - 1));
    this.waiting = setTimeout(() => this.connect(), wait * (0.5 + Math.random() / 2));
  }

  hurry() {
    if (!this.left && !impossible && !this.socket) this.connect();
  }

  poll() {
    impossible = true;
    this.say("Live text needs a websocket; showing it every 2 s instead");
    this.leave();
    setTimeout(() => this.redraw(), POLL);
  }

  leave() {
    this.left = true;
    clearInterval(this.ticking);
    clearTimeout(this.waiting);
    const socket = this.socket;
    this.socket = undefined;
    socket?.close();
  }

  // Frames.

  take(frame) {
    this.heard = Date.now();
    if (frame.end) { this.finish(frame.end); return; }
    if (frame.seq <= this.seq) return;
    if (frame.seq !== this.seq + 1 || frame.at !== this.length) {
      this.gaps += 1;
      if (this.gaps > 3) this.poll();
      else this.connect();
      return;
    }
    [this.seq, this.tries, this.ms] = [frame.seq, 0, frame.ms];
    this.began = Math.min(this.began, performance.now() - frame.ms);
    this.waits = undefined;
    for (const event of frame.events) this.fold(event);
    if (!this.waits) this.say(this.length ? "Writing" : "Waiting for Claude");
    this.drawing ??= requestAnimationFrame(() => this.draw());
  }

  fold(event) {
    if (event.type === "content_block_start") this.open(event.index, event.content_block);
    else if (event.type === "content_block_delta") this.grow(event.index, event.delta);
    else if (event.type === "content_block_stop") this.close(event.index);
    else if (event.type === "message_delta") this.counted = event.usage?.output_tokens ?? this.counted;
    else if (event.type === "sluice_wait") this.waits = { ...event, until: performance.now() + event.seconds * 1000 };
  }

  open(index, content) {
    const kind = KINDS[content.type] ?? "other";
    const element = document.getElementById(`live-${kind}`).content.cloneNode(true).firstElementChild;
    const node = document.createTextNode("");
    (element.matches("[data-grows]") ? element : element.querySelector("[data-grows]")).append(node);
    const name = element.querySelector("[data-name]");
    if (name) name.textContent = kind === "tool" ? content.name : content.type;
    if (kind === "thinking") element.id = `${this.article.id}-block-${index}`;
    const pending = kind === "other" ? JSON.stringify(content, null, 2) : content[kind] ?? "";
    this.blocks.set(index, { kind, element, node, pending, tokens: 0, began: this.ms });
    this.sheet.append(element);
  }

  grow(index, delta) {
    const block = this.blocks.get(index), key = READ[delta.type];
    if (!block || !key) return;
    const piece = delta[key];
    this.pieces.push(piece);
    this.length += piece.length;
    this.first ??= this.ms;
    block.pending += piece;
    const tokens = guess(piece);
    this.tokens += tokens;
    block.tokens += tokens;
  }

  close(index) {
    const block = this.blocks.get(index);
    if (!block) return;
    block.ended = this.ms;
    if (block.kind !== "tool") return;
    this.draw();
    try { block.node.data = JSON.stringify(JSON.parse(block.node.data), null, 2); } catch { /* cut off */ }
  }

  // What is seen. Text that stands is not touched again.

  draw() {
    cancelAnimationFrame(this.drawing);
    this.drawing = undefined;
    for (const block of this.blocks.values()) {
      if (!block.pending) continue;
      block.node.appendData(block.pending);
      block.pending = "";
    }
    if (!this.sheet.isConnected && this.length >= this.drawn) this.article.querySelector(".blocks").replaceWith(this.sheet);
    grown();
  }

  tick() {
    if (!this.article.isConnected) { this.leave(); return; }
    if (!document.hidden && this.socket && Date.now() - this.heard > SILENCE) this.connect();
    const now = performance.now(), facts = [];
    if (this.waits) this.say(`${busy(this.waits.reason)} Trying again in ${Math.max(0, Math.ceil((this.waits.until - now) / 1000))} s`);
    if (this.first !== undefined) facts.push(`first token ${(this.first / 1000).toFixed(1)} s`, count(this));
    const writing = (this.ms - this.first) / 1000;
    if (writing > 1) facts.push(`${Math.round((this.counted ?? this.tokens) / writing)}/s`);
    facts.push(took((now - this.began) / 1000));
    put(this.article.querySelector("[data-facts]"), facts.join(" · "));
    for (const block of this.blocks.values())
      if (block.kind === "thinking") put(block.element.firstElementChild, thinking(block, this.ms));
  }

  say(state) {
    if (this.state === state) return;
    this.state = state;
    put(this.article.querySelector("[data-state]"), state);
    if (!this.waits) put(document.getElementById("spoken"), state);
    if (state === "Writing") document.title = document.title.replace(/^.*? · /, "Writing · ");
  }

  async finish(end) {
    this.draw();
    this.leave();
    const same = end.length === this.length && (await digest(this.pieces)) === (crypto.subtle ? end.sha256 : "");
    // What the server draws now is the answer as it is stored: it mends whatever was missing.
    if (!same) console.info(`the live text differs: ${this.length} of ${end.length}`);
    this.article.dataset.checked = same;
    const tokens = this.counted === undefined ? "" : `, ${this.counted.toLocaleString("en")} tokens`;
    put(document.getElementById("spoken"), end.state === "done" ? `Done${tokens}` : `${end.state[0].toUpperCase()}${end.state.slice(1)}`);
    await this.redraw();
  }

  /** The turn as the server draws it; the reader stays where he is. */
  async redraw() {
    const { article } = this;
    if (!article.isConnected) return;
    const follow = following, before = article.getBoundingClientRect();
    const values = { seen: document.getElementById("seen")?.value ?? "" };
    await htmx.ajax("GET", article.dataset.turn, { target: article, swap: "outerHTML", values }).catch(() => {});
    if (article.isConnected) { setTimeout(() => this.redraw(), POLL); return; }
    const after = document.getElementById(article.id)?.getBoundingClientRect();
    if (follow) requestAnimationFrame(toEnd);
    else if (after && before.top < 0) scrollBy(0, after.top + after.height * Math.min(1, -before.top / before.height));
  }
}

const put = (element, text) => { if (element && element.textContent !== text) element.textContent = text; };
const took = (seconds) => (seconds < 60 ? `${Math.floor(seconds)} s` : `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`);
const count = ({ counted, tokens }) => (counted === undefined ? `about ${Math.round(tokens).toLocaleString("en")} tokens` : `${counted.toLocaleString("en")} tokens`);
const thinking = ({ tokens, began, ended }, now) => `Thinking · about ${Math.round(tokens).toLocaleString("en")} tokens · ${took(((ended ?? now) - began) / 1000)}`;
const busy = (reason) => (/answers (429|529)/.test(reason) ? `Busy (${RegExp.$1}).` : reason);

/** About as many tokens as a text has, until the API has counted them. */
function guess(text) {
  let tokens = 0;
  for (let at = 0; at < text.length; at++) tokens += text.charCodeAt(at) < 0x2e80 ? 0.25 : 0.8;
  return tokens;
}

async function digest(pieces) {
  if (!crypto.subtle) return "";
  const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(pieces.join("")));
  return [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// The page: which turn lives, and what is pressed.

const lives = new Map();
function look() {
  for (const [article, live] of lives) if (!article.isConnected) { live.leave(); lives.delete(article); }
  for (const article of document.querySelectorAll("article[data-live]"))
    if (!lives.has(article)) lives.set(article, new Live(article));
}

const hurry = () => { for (const live of lives.values()) live.hurry(); };
addEventListener("online", hurry);
addEventListener("offline", () => { for (const live of lives.values()) { const { socket } = live; if (socket) { live.lost(0); socket.close(); } } });
document.addEventListener("visibilitychange", () => { if (!document.hidden) hurry(); });
document.body.addEventListener("htmx:afterSettle", look);
document.body.addEventListener("htmx:oobAfterSwap", look);

document.body.addEventListener("htmx:beforeRequest", ({ detail: { elt } }) => {
  const stop = elt.id === "stop" && document.getElementById("stop-button");
  if (stop) { stop.disabled = true; stop.lastChild.data = "Stopping…"; }
});

document.body.addEventListener("htmx:afterRequest", ({ detail: { elt, successful } }) => {
  if (!successful || !elt.closest("#ask, .turn")) return;
  following = true;
  requestAnimationFrame(toEnd);
  if (elt.id === "ask") document.getElementById("id_prompt")?.focus({ preventScroll: true });
});

document.addEventListener("click", ({ target }) => {
  const plain = target.closest("[data-plain]");
  if (plain) plain.setAttribute("aria-pressed", String(plain.closest(".turn").classList.toggle("as-written")));
  if (target.closest("#new-text")) { following = true; toEnd(); }
});

document.addEventListener("keydown", (event) => {
  if (event.key === "." && (event.ctrlKey || event.metaKey)) document.querySelector("[data-stop]")?.click();
  // Enter in a field of the settings would send what is not written yet.
  if (event.key === "Enter" && !event.ctrlKey && !event.metaKey && event.target.matches("#settings input")) event.preventDefault();
});

if (["", "#composer"].includes(location.hash) && document.getElementById("turns")) toEnd();
look();
