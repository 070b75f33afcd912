"""What the review form says: a name, labels, which rows, in how many parts."""

import secrets
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import msgspec
from django import forms

from batches.models import Batch
from batches.planning import MOST_REQUESTS, Selection, count_parts
from batches.reading import LAST_ROW
from batches.words import count
from claude_api.tolerant import clean

MOST_LABELS = 10
LONGEST_LABEL = 40
PARTS = (1, 2, 4, 5, 10, 20, 50, 100)
SMALLEST_PART = 10
COUNTED = ("first", "sample")
DEFAULT_COUNTS = {"first": 10, "sample": 20}


class ReviewForm(forms.Form):
    """Only the number beside the chosen kind of rows is read."""

    name = forms.CharField(max_length=200)
    labels = forms.CharField(required=False)
    rows = forms.ChoiceField(choices=[("all", "All"), ("first", "First"), ("sample", "Sample")])
    first = forms.CharField(required=False)
    sample = forms.CharField(required=False)
    part_size = forms.IntegerField(required=False, min_value=0, max_value=MOST_REQUESTS)
    leave_out = forms.IntegerField(required=False, min_value=0, max_value=LAST_ROW)

    def __init__(self, batch: Batch, most: int, data: Mapping[str, Any] | None = None) -> None:
        """`most` rows can be chosen."""
        self.batch, self.most = batch, most
        super().__init__(data if data is not None else shown(batch))
        self.fields["name"].error_messages["required"] = "Give it a name."

    def clean_name(self) -> str:
        return clean(self.cleaned_data["name"].strip())

    def clean_labels(self) -> list[str]:
        text = clean(self.cleaned_data["labels"])
        labels = list(dict.fromkeys(filter(None, (one.strip() for one in text.split(",")))))
        if len(labels) > MOST_LABELS:
            raise forms.ValidationError(f"At most {MOST_LABELS} labels.")
        if long := [label for label in labels if len(label) > LONGEST_LABEL]:
            raise forms.ValidationError(
                f"`{long[0][:LONGEST_LABEL]}…` is longer than {LONGEST_LABEL} characters."
            )
        return labels

    def clean(self) -> None:
        kind = self.cleaned_data.get("rows")
        if kind not in COUNTED:
            return
        text = self.cleaned_data.get(kind, "").strip().replace(",", "")
        if not text.isascii() or not text.isdigit() or not int(text[:12]):
            self.add_error("rows", "Write how many rows: a whole number from 1.")
        elif int(text[:12]) > self.most:
            self.add_error("rows", f"There {are(self.most)} {count(self.most, 'row')} to send.")
        else:
            self.cleaned_data["count"] = int(text[:12])

    def selection(self) -> Selection:
        """What is chosen; a sample stays the same one while its size does."""
        data, saved = self.cleaned_data, selection_of(self.batch)
        kind, size = data["rows"], data.get("part_size") or 0
        if kind == "all":
            kind = "rest" if self.batch.parts else "all"
            return Selection(kind=kind, part_size=size)
        seed = 0
        if kind == "sample":
            seed = saved.seed if saved.kind == "sample" else secrets.randbelow(2**31)
        return Selection(kind=kind, count=data["count"], seed=seed, part_size=size)

    def changes(self) -> dict[str, Any]:
        """The columns of the Batch that hold what is chosen."""
        data = self.cleaned_data
        changes = {
            "name": data["name"],
            "labels": data["labels"],
            "selection": msgspec.to_builtins(self.selection()),
        }
        if data.get("leave_out") is not None:
            changes["leave_out"] = data["leave_out"]
        return changes


def are(number: int) -> str:
    return "is" if number == 1 else "are"


def selection_of(batch: Batch) -> Selection:
    """What was saved last; a count that is not there any more is no reason to fail."""
    try:
        return msgspec.convert(batch.selection, Selection)
    except msgspec.ValidationError:
        return Selection()


def shown(batch: Batch) -> dict[str, Any]:
    """The fields as they were saved, with a name and numbers where nobody has typed any."""
    saved = selection_of(batch)
    kind = saved.kind if saved.kind in COUNTED else "all"
    return {
        "name": name_of(batch),
        "labels": ", ".join(batch.labels),
        "rows": kind,
        "part_size": saved.part_size,
        "leave_out": batch.leave_out,
        **DEFAULT_COUNTS,
        **({kind: saved.count} if kind in COUNTED else {}),
    }


def name_of(batch: Batch) -> str:
    """`reviews-october, claude-haiku-4-5` as long as it is only named by its file."""
    file = batch.upload.filename if batch.upload else ""
    stem, model = PurePath(file).stem, batch.recipe.get("model", "")
    if batch.name in ("", file, stem) and model:
        return f"{batch.name or stem}, {model}"[:200]
    return batch.name


class PartChoice(msgspec.Struct, frozen=True):
    size: int
    label: str
    chosen: bool


def part_choices(rows: int, size: float, part_size: int) -> list[PartChoice]:
    """How many parts there may be; `size` is the mean of the requests in bytes."""
    chosen = count_parts(rows, size, part_size)
    usual = count_parts(rows, size)
    sizes = {usual: 0}
    for number in PARTS:
        each = -(-rows // number)
        if number <= rows and SMALLEST_PART <= each <= MOST_REQUESTS:
            sizes.setdefault(count_parts(rows, size, each), each)
    sizes[chosen] = part_size
    return [
        PartChoice(each, label_parts(rows, number, number == usual), number == chosen)
        for number, each in sorted(sizes.items())
    ]


def label_parts(rows: int, number: int, usual: bool) -> str:
    about = "about " if rows % number else ""
    said = f"{count(number, 'part')} of {about}{round(rows / number):,}"
    return f"{said} (usual)" if usual else said
