// Sends a file in pieces, each acknowledged by how far the file has come; whatever breaks, it goes
// on from there.
//
//   form[data-upload="…/uploads/"]  where a file is chosen or dropped; data-piece: bytes of a piece,
//                                   data-batch: the draft whose file is replaced, data-recipe: the
//                                   batch whose recipe is taken over, data-resume: the upload to go
//                                   on with, of the file data-name with data-size bytes, last
//                                   changed at data-modified
//   [data-drop="…/new/"]            files may be dropped anywhere on the page, which then becomes that
//   form[data-submit]               is sent as soon as something in it is changed
//   [data-opens="ID"]               opens that details when it is chosen

const $ = (selector, root = document) => root.querySelector(selector);
const EXCEL = "In Excel: File › Save as › CSV UTF-8.";
const UNPACK = "Unpack it and upload the file inside.";
const TABLE = "Export the table as CSV UTF-8.";
const FOREIGN = [
  ["d0cf11e0", "an old or a password-protected Excel workbook", EXCEL], ["504b0304", "a zip archive", UNPACK],
  ["1f8b", "a gzip file", UNPACK], ["425a68", "a bzip2 file", UNPACK], ["fd377a58", "an xz file", UNPACK],
  ["28b52ffd", "a zstd file", UNPACK], ["377abcaf", "a 7-Zip archive", UNPACK], ["52617221", "a RAR archive", UNPACK],
  ["25504446", "a PDF", TABLE], ["89504e47", "a PNG image", TABLE], ["ffd8ff", "a JPEG image", TABLE],
  ["47494638", "a GIF image", TABLE], ["50415231", "a Parquet file", TABLE], ["53514c69", "an SQLite database", TABLE],
];
const WORKBOOK = /\.(xlsx|xlsm|xlsb|csv|tsv|txt)$/i;
let sending = null;

class Refused extends Error {}

// Numbers as the pages write them.

function share(bytes, whole) {
  const [unit, digits] = whole >= 1e9 ? [1e9, 1] : whole >= 1e7 ? [1e6, 0] : whole >= 1e6 ? [1e6, 1] : [1e3, 0];
  return (bytes / unit).toFixed(digits);
}
const unit = (whole) => (whole >= 1e9 ? "GB" : whole >= 1e6 ? "MB" : "KB");
const amount = (bytes) => `${share(bytes, bytes)} ${unit(bytes)}`;
function left(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s left`;
  return seconds < 3600 ? `${Math.round(seconds / 60)} min left` : `${(seconds / 3600).toFixed(1)} h left`;
}

async function check(file) {
  if (!file.size) throw new Refused("File is empty. Choose another.");
  let head;
  try { head = new Uint8Array(await file.slice(0, 4).arrayBuffer()); }
  catch { throw new Refused("This cannot be read: it is a folder, or it is gone."); }
  const hex = [...head].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  for (let [start, what, fix] of FOREIGN)
    if (hex.startsWith(start)) {
      if (start === "504b0304" && WORKBOOK.test(file.name)) [what, fix] = ["an Excel workbook", EXCEL];
      if (start === "504b0304" && /\.(ods|numbers)$/i.test(file.name)) [what, fix] = ["a spreadsheet of another program", TABLE];
      const named = /\.[^.]{1,8}$/.exec(file.name);
      throw new Refused(`This is ${what}${named ? ` named ${named[0]}` : ""}. ${fix}`);
    }
}

// One file on its way. `place` is what the server last said of it.

class Sending {
  constructor(form, file, place) {
    Object.assign(this, { form, file, place, panel: $("[data-sending]", form), paused: false, moving: false, samples: [], told: -1 });
    this.token = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  call(method, url, body = null, headers = {}, moved = () => {}) {
    return new Promise((resolve, reject) => {
      const xhr = (this.xhr = new XMLHttpRequest());
      xhr.open(method, url);
      xhr.responseType = "json";
      headers = { "X-CSRFToken": $("[name=csrfmiddlewaretoken]", this.form).value, ...headers };
      Object.entries(headers).forEach(([name, value]) => xhr.setRequestHeader(name, value));
      xhr.upload.onprogress = (event) => moved(event.loaded);
      xhr.onload = () => {
        const answer = xhr.response;
        if (answer && xhr.status < 400) resolve(answer);
        else if (answer?.upload && xhr.status === 409) resolve({ ...answer, late: true });
        else if (answer?.error) reject(new Refused(answer.error));
        else if (xhr.status < 500) reject(new Refused(xhr.status === 404 ? "This upload was cancelled." : "The server takes no file from you. Reload the page, sign in, and choose the file again."));
        else reject(new Error("lost"));
      };
      xhr.onerror = xhr.onabort = xhr.ontimeout = () => reject(new Error("lost"));
      xhr.timeout = 300_000;
      xhr.send(body);
    });
  }

  announce() {
    const { batch, recipe } = this.form.dataset, number = (text) => (text ? Number(text) : null);
    const file = { name: this.file.name, size: this.file.size, modified: this.file.lastModified, token: this.token, batch: number(batch), recipe: number(recipe) };
    return this.call("POST", this.form.dataset.upload, JSON.stringify(file), { "Content-Type": "application/json" });
  }

  async piece() {
    const { received, upload } = this.place, end = Math.min(received + Number(this.form.dataset.piece), this.file.size);
    const body = this.file.slice(received, end), headers = { "Upload-Offset": received, "Content-Type": "application/octet-stream" };
    const answer = await this.call("PUT", upload, body, headers, (loaded) => this.show(received + Math.min(loaded, end - received)));
    // Somebody else writes to it right now, or wrote the same.
    if (answer.late && answer.received === received) await wait(1000);
    this.place = answer;
    this.show(answer.received);
  }

  async run() {
    this.begin();
    for (let tries = 0, sure = false; ; ) {
      try {
        await this.going();
        if (!this.place) this.arrived(await this.announce());
        else if (!sure) this.place = await this.call("GET", this.place.upload);
        this.lost("");
        [tries, sure] = [0, true];
        while (this.place.state === "receiving") {
          await this.going();
          await this.piece();
        }
        return this.leave(this.place.file);
      } catch (error) {
        if (this.cancelled) return;
        if (error instanceof Refused) return this.stop(error.message);
        try { await this.file.slice(0, 1).arrayBuffer(); }
        catch { return this.stop("The file was changed or moved while it was sent. Choose it again."); }
        [tries, sure] = [tries + 1, false];
        this.moving = false;
        if (this.paused) continue;
        this.samples = [];
        this.show(this.place?.received ?? 0);
        this.lost(`Connection lost at ${amount(this.place?.received ?? 0)}. We go on by ourselves when it is back.`);
        await Promise.race([wait(Math.min(1000 * 2 ** (tries - 1), 8000)), online()]);
      }
    }
  }

  begin() {
    $(".drop", this.form).hidden = true;
    $(".reading")?.parentElement.remove();
    $(".give-up")?.remove();
    say(this.form, "");
    this.panel.hidden = false;
    $("b", this.panel).textContent = this.file.name;
    $("progress", this.panel).max = this.file.size;
    this.show(this.place?.received ?? 0);
  }

  /** Reloading from now on shows the draft, where the same file goes on. */
  arrived(place) {
    this.place = place;
    if (location.pathname !== place.file) history.replaceState(null, "", place.file);
  }

  async going() {
    while (this.paused) await wait(100);
    this.moving = true;
  }

  show(bytes) {
    const now = performance.now(), whole = this.file.size, text = $("[data-text]", this.panel);
    this.samples = [...this.samples.filter(([at]) => now - at < 8000), [now, bytes]];
    const [[since, from]] = this.samples, speed = now - since > 500 ? ((bytes - from) / (now - since)) * 1000 : 0;
    const done = `${share(bytes, whole)} of ${share(whole, whole)} ${unit(whole)}`;
    $("progress", this.panel).value = bytes;
    text.textContent = this.paused ? `${done} · paused` : speed > 0 ? `${done} · ${amount(speed)}/s · ${left((whole - bytes) / speed)}` : done;
    const percent = Math.floor((100 * bytes) / whole);
    document.title = `${percent} % · ${this.file.name} · Sluice`;
    const quarter = percent - (percent % 25);
    if (quarter > this.told) $("[data-live]", this.panel).textContent = `${(this.told = quarter)} % of ${this.file.name} uploaded`;
  }

  lost(sentence) {
    const notice = $("[data-lost]", this.panel);
    notice.hidden = !sentence;
    $("span", notice).textContent = sentence;
    if (sentence) $("[data-live]", this.panel).textContent = sentence;
  }

  pause() {
    this.paused = !this.paused;
    this.moving = !this.paused;
    this.samples = [];
    $("[data-pause]", this.panel).textContent = this.paused ? "Go on" : "Pause";
    if (this.paused) this.xhr?.abort();
    this.show(this.place?.received ?? 0);
  }

  async cancel() {
    this.cancelled = true;
    this.moving = false;
    this.xhr?.abort();
    if (!this.place) return this.leave(location.href);
    try { this.leave((await this.call("DELETE", this.place.upload)).next ?? this.place.file); }
    catch (error) { this.stop(error instanceof Refused ? error.message : "The server does not answer. Try again."); }
  }

  /** What came so far stays: the same file goes on, another one takes its place. */
  stop(sentence) {
    sending = null;
    if (this.place) Object.assign(this.form.dataset, { resume: this.place.upload, name: this.file.name, size: this.file.size, modified: this.file.lastModified, batch: this.place.batch ?? "" });
    this.panel.hidden = true;
    $(".drop", this.form).hidden = false;
    $("input[type=file]", this.form).value = "";
    say(this.form, sentence);
  }

  leave(url) {
    sending = null;
    location.replace(url);
  }
}

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const online = () => new Promise((resolve) => addEventListener("online", resolve, { once: true }));

function say(form, sentence, button = null) {
  const problem = $("[data-problem]", form);
  problem.hidden = !sentence;
  $("span", problem).replaceChildren(sentence, ...(button ? [" ", button] : []));
}

async function start(form, files) {
  if (sending || !files.length) return;
  const [file] = files, { resume, name, size, modified } = form.dataset;
  try {
    if (files.length > 1) throw new Refused("One file at a time: each becomes a batch of its own.");
    await check(file);
  } catch (error) {
    return say(form, error.message);
  }
  if (!resume) (sending = new Sending(form, file)).run();
  else if (file.name !== name || file.size !== Number(size))
    offer(form, file, `This is not the file that was being sent: that is ${name} with ${Number(size).toLocaleString("en-GB")} bytes.`);
  else if (modified && file.lastModified !== Number(modified))
    offer(form, file, `${name} was changed since the first part of it was sent, and the rest would not fit.`);
  else (sending = new Sending(form, file, { upload: resume, received: 0 })).run();
}

function offer(form, file, sentence) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Upload this one instead" });
  button.addEventListener("click", () => { if (!sending) (sending = new Sending(form, file)).run(); });
  say(form, sentence, button);
}

// What people do.

document.addEventListener("change", (event) => {
  const { target } = event;
  if (target.matches("form[data-upload] input[type=file]")) start(target.form, target.files);
  if (target.form?.matches("[data-submit]")) target.form.requestSubmit();
  if (target.dataset.opens) document.getElementById(target.dataset.opens).open = true;
});
document.addEventListener("click", ({ target }) => {
  if (target.closest("[data-pause]")) sending?.pause();
  if (target.closest("[data-cancel]")) sending?.cancel();
});
addEventListener("beforeunload", (event) => { if (sending?.moving) event.returnValue = true; });

const zone = (event) => event.target.closest("form[data-upload]") ?? [...document.querySelectorAll("form[data-upload]")].find((form) => form.offsetParent) ?? $("[data-drop]");
function mark(over) {
  document.querySelectorAll(".over").forEach((one) => one !== over && one.classList.remove("over"));
  over?.classList.add("over");
}
document.addEventListener("dragover", (event) => {
  if (!event.dataTransfer?.types.includes("Files")) return;
  event.preventDefault();
  const found = sending ? null : zone(event);
  event.dataTransfer.dropEffect = found ? "copy" : "none";
  mark(found && ($(".drop", found) ?? found));
});
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) mark(null); });
document.addEventListener("drop", async (event) => {
  if (!event.dataTransfer?.types.includes("Files")) return;
  event.preventDefault();
  mark(null);
  const files = [...event.dataTransfer.files], found = sending ? null : zone(event);
  if (found) start(found.matches("form") ? found : await become(found.dataset.drop), files);
});

/** The page of a new batch in the place of this one: a file that was dropped does not survive a visit. */
async function become(url) {
  const page = new DOMParser().parseFromString(await (await fetch(url)).text(), "text/html");
  $("main").replaceWith($("main", page));
  document.title = page.title;
  history.pushState(null, "", url);
  addEventListener("popstate", () => location.reload());
  return $("form[data-upload]");
}
