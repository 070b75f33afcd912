import pytest

from streaming.json_fields import Unreadable, read_json, write_json


def test_it_reads_and_writes() -> None:
    text = '{\n  "a": [\n    1,\n    "ü"\n  ]\n}'
    assert read_json(text, dict, "") == {"a": [1, "ü"]}
    assert write_json({"a": [1, "ü"]}) == text
    assert write_json({}) == ""


@pytest.mark.parametrize(
    ("text", "kind", "sentence"),
    [
        ('{"a": 1', dict, "Line 1, column 8: it ends before it is whole."),
        ('{"a": "x', dict, "it ends before it is whole."),
        ("{\n  'a': 1}", dict, "Line 2, column 3: write \" instead of '."),
        ('{"a": True}', dict, "Line 1, column 7: write true, false or null."),
        ('{"a": 1} # why', dict, "Line 1, column 10: nothing more may follow here."),
        ("// why\n{}", dict, "Line 1, column 1: JSON has no comments."),
        ('{"a": NaN}', dict, "NaN is no JSON"),
        ("[" * 100_000, list, "It is nested too deep."),
        ("[" + "9" * 5_000 + "]", list, "A number in it is too long."),
        ("[1]", list, "This is not a list of objects. Write it as in EXAMPLE."),
        ("[]", dict, "This is not an object. Write it as in EXAMPLE."),
        ("3", dict, "This is not an object."),
    ],
)
def test_what_is_wrong_has_its_place(text: str, kind: type, sentence: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read_json(text, kind, "EXAMPLE")
    assert sentence in str(caught.value)


def test_what_no_database_takes_is_replaced() -> None:
    assert read_json('{"a": "\\u0000\\ud800"}', dict, "") == {"a": "\ufffd\ufffd"}
