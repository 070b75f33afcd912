// The recipe page: columns are put in where the caret is, and [Use it] mends what is wrong.

const form = document.getElementById("recipe");
const chips = [...document.querySelectorAll("[data-column]")];
const templates = [...document.querySelectorAll("[data-template]")];
const find = document.getElementById("find-column");
let last = document.getElementById("id_prompt");

const changed = (field) => field.dispatchEvent(new Event("input", { bubbles: true }));
const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

function putIn(text) {
  last.setRangeText(text, last.selectionStart, last.selectionEnd, "end");
  last.focus();
  changed(last);
}

function markUsed() {
  const used = new Set(templates.flatMap(({ value }) => [...value.matchAll(/\{\{([^{}]*)\}\}/g)].map((found) => found[1].trim())));
  for (const chip of chips) chip.setAttribute("aria-pressed", used.has(chip.dataset.column));
}

function mend({ dataset: { field, wrong, right } }) {
  const input = document.getElementById(`id_${field}`);
  if (templates.includes(input)) input.value = input.value.replace(new RegExp(`\\{\\{\\s*${escaped(wrong)}\\s*\\}\\}`, "g"), () => `{{${right}}}`);
  else if (field === "extra") input.value = input.value.replace(`"${wrong}"`, () => `"${right}"`);
  else input.value = right;
  input.focus();
  changed(input);
}

// What the server says stands under the field; the field itself is never drawn anew.
function markInvalid() {
  for (const errors of document.querySelectorAll(".errors")) {
    const field = document.getElementById(errors.id.replace("errors-", "id_"));
    field?.setAttribute("aria-invalid", String(errors.children.length > 0));
  }
}

// What is just being saved brings the version that the form goes on from.
function waitForSave(event) {
  if (!document.querySelector("#recipe.htmx-request, :is(#preview, #saved) .htmx-request")) return;
  event.preventDefault();
  const goOn = () => setTimeout(() => form.requestSubmit(event.submitter));
  document.body.addEventListener("htmx:afterRequest", goOn, { once: true });
}

form.addEventListener("submit", waitForSave);
for (const template of templates) template.addEventListener("focus", () => { last = template; });
form.addEventListener("input", markUsed);
find?.addEventListener("input", (event) => {
  event.stopPropagation();
  const wanted = find.value.trim().toLowerCase();
  for (const chip of chips) chip.parentElement.hidden = !chip.dataset.column.toLowerCase().includes(wanted);
});
document.addEventListener("click", ({ target }) => {
  const chip = target.closest("[data-column]"), use = target.closest("[data-right]");
  if (chip) putIn(`{{${chip.dataset.column}}}`);
  if (use) mend(use);
});
document.body.addEventListener("htmx:afterSettle", markInvalid);
markInvalid();
document.querySelector(".error-summary")?.focus();
