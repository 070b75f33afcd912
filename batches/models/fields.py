from typing import TYPE_CHECKING, Any

import msgspec
from django import forms
from django.db import models

if TYPE_CHECKING:
    Text = models.TextField[Any, Any]
else:
    Text = models.TextField


class OrderedJsonField(Text):
    """A JSON value whose objects keep the order of their keys, which PostgreSQL's jsonb does not.

    Claude writes the properties of an output format in the order in which they are listed.
    """

    # What the type checker takes and gives; a text's would be str.
    _pyi_private_set_type: Any
    _pyi_private_get_type: Any

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else msgspec.json.encode(value).decode()

    def from_db_value(self, value: str | None, *_: Any) -> Any:
        return None if value is None else msgspec.json.decode(value)

    def to_python(self, value: Any) -> Any:
        return msgspec.json.decode(value) if isinstance(value, str) else value

    def value_to_string(self, obj: models.Model) -> str:
        return self.get_prep_value(self.value_from_object(obj)) or ""

    def formfield(self, **_: Any) -> forms.Field | None:
        return super().formfield(form_class=forms.JSONField)
