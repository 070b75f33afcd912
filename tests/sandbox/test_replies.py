from random import Random
from typing import Any

import pytest

from sandbox.labels import find_labels
from sandbox.languages import Prompt
from sandbox.models import find_model
from sandbox.replies import Answer, answer
from sandbox.schemas import Maker
from sandbox.tokens import cut, estimate
from tests.sandbox.api import body


def reply(text: str, **fields: Any) -> Answer:
    model = find_model(fields.get("model", "claude-haiku-4-5"))
    assert model is not None
    return answer(body(text, **fields), model)


def said(text: str, **fields: Any) -> str:
    return reply(text, **fields).content[0]["text"]


def test_it_works() -> None:
    text = said("Why do lighthouses blink?")
    assert text.endswith(".")
    assert "lighthouses" in text or "blink" in text


LABELS = {
    "Classify as positive, negative or neutral: I love it": ["positive", "negative", "neutral"],
    "Choose one of: billing, bug, feature request.\n\nIt crashes": [
        "billing",
        "bug",
        "feature request",
    ],
    "Labels:\n- Billing\n- Bug: it is broken\n\nThanks!": ["Billing", "Bug"],
    "Answer with 'yes' or 'no': is it blue?": ["yes", "no"],
    "Is this spam or ham? Buy now": ["spam", "ham"],
    "Is this review positive, negative or mixed? Nice": ["positive", "negative", "mixed"],
    "Klassifiziere als positiv, negativ oder neutral: toll": ["positiv", "negativ", "neutral"],
    "Réponds par oui ou non : il pleut": ["oui", "non"],
    "Clasifica el texto como queja o elogio: gracias": ["queja", "elogio"],
    "请从以下类别中选择：正面、负面、中性。评论：质量很差": ["正面", "负面", "中性"],
    "カテゴリ：良い、悪い。 最高でした": ["良い", "悪い"],
    "Reply with one word: yes or no. Is water wet?": ["yes", "no"],
    "Choose one: red or white. Which wine?": ["red", "white"],
    "Antworte mit einem der folgenden Wörter: Lob, Frage. Danke!": ["Lob", "Frage"],
    "Antworte mit einem von: a, b, c": ["a", "b", "c"],
    "Réponds par l'un des mots suivants : facture, autre. Mon colis": ["facture", "autre"],
    "Responde con una de estas palabras: factura, otro. Mi paquete": ["factura", "otro"],
    "请回答其中之一：a、b、c": ["a", "b", "c"],
    "次のいずれかで答えてください：a、b、c": ["a", "b", "c"],
    "次のラベルから一つ選んで答えてください：請求、配送。届きません": ["請求", "配送"],
    "次のレビューを「肯定」「否定」のいずれかに分類してください：最高": ["肯定", "否定"],
    "次のレビューを肯定、否定、中立のいずれかに分類：最高": ["肯定", "否定", "中立"],
    "はい か いいえ で答えてください：水は濡れていますか": ["はい", "いいえ"],
}


@pytest.mark.parametrize("prompt", LABELS)
def test_among_named_labels_one_is_chosen_alone(prompt: str) -> None:
    found = find_labels(prompt)
    assert found is not None
    assert found[0] == LABELS[prompt]
    assert said(prompt) in LABELS[prompt]


@pytest.mark.parametrize(
    "prompt",
    [
        "Summarise: the class of one of the ships, a frigate, was unknown.",
        "What are the options for traveling from Rome to Milan, by train or car?",
        "Translate the following text into French: the answer is blowing in the wind",
        "Write a story about a lighthouse, a dog and a letter.",
        "Write about labels and categories or classes of wines.",
        "Tell me about one of the cats or dogs in the house, either way.",
        "一つの質問があります：港はどこですか、駅はどこですか。",
    ],
)
def test_what_names_no_labels_gets_sentences(prompt: str) -> None:
    assert find_labels(prompt) is None
    assert said(prompt).endswith((".", "。"))


def test_the_label_fits_the_mood() -> None:
    ask = "Classify as positive, negative or neutral: "
    assert said(f"{ask}I love it, great and fast") == "positive"
    assert said(f"{ask}it is broken, I want a refund") == "negative"


@pytest.mark.parametrize(
    ("language", "prompt"),
    [
        ("en", "What should I know about the harbour in spring?"),
        ("de", "Was sollte ich über den Hafen im Frühling wissen?"),
        ("fr", "Que dois-je savoir sur le port au printemps ?"),
        ("es", "¿Qué debo saber sobre el puerto en la primavera?"),
        ("zh", "春天的港口有什么值得了解的？"),
        ("ja", "春の港について知っておくべきことは何ですか。"),
        ("en", "12345 ???"),
    ],
)
def test_the_language_is_that_of_the_prompt(language: str, prompt: str) -> None:
    assert Prompt(prompt).language == language
    assert said(prompt)


@pytest.mark.parametrize(
    ("prompt", "word"), [("Write a tweet about coffee", "coffee"), ("空はなぜ青いのですか？", "空")]
)
def test_a_single_word_is_put_into_each_sentence(prompt: str, word: str) -> None:
    text = said(prompt)
    ends = text.count(".") + text.count("。")
    assert text.lower().count(word) >= ends >= 2


def test_the_length_is_what_is_asked_for() -> None:
    one = said("Describe the harbour in one sentence.")
    some = said("Describe the harbour at dawn.")
    story = said("Tell me a story about the harbour.")
    assert one.count(".") == 1
    assert len(one) < len(some) < 1_000 < len(story)
    assert "\n\n" in story


def test_each_request_gets_its_own_answer() -> None:
    answers = {said(f"Describe place number {number}") for number in range(20)}
    assert len(answers) > 10


SCHEMAS: list[tuple[dict[str, Any], Any]] = [
    ({"const": 7}, lambda made: made == 7),
    ({"enum": ["a", None]}, lambda made: made in ("a", None)),
    ({"type": "integer", "minimum": 3, "exclusiveMaximum": 5}, lambda made: made in (3, 4)),
    ({"type": "number", "minimum": 0.5, "maximum": 0.5}, lambda made: made == 0.5),
    ({"type": ["null", "boolean"]}, lambda made: isinstance(made, bool)),
    ({"type": "string", "format": "date"}, lambda made: made == "2026-01-15"),
    ({"type": "string", "minLength": 30, "maxLength": 40}, lambda made: 30 <= len(made) <= 40),
    ({"type": "array", "items": {"type": "null"}, "minItems": 4}, lambda made: made == [None] * 4),
    ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, lambda made: isinstance(made, int)),
    (
        {"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]},
        lambda made: made == {"a": 1, "b": 2},
    ),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"const": 3}}}, lambda made: made == 3),
    ({"type": "object", "required": ["x"]}, lambda made: list(made) == ["x"]),
]


@pytest.mark.parametrize(("schema", "fits"), SCHEMAS, ids=[str(each[0])[:40] for each in SCHEMAS])
def test_a_value_fits_its_schema(schema: dict[str, Any], fits: Any) -> None:
    for seed in range(20):
        made = Maker(schema, ["word", "other"], Random(seed)).value()
        assert fits(made), made


def test_a_schema_that_contains_itself_ends() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#"}, "name": {"type": "string"}}}
    assert "next" in Maker(node, ["word"], Random(1)).value()


@pytest.mark.parametrize("prompt", ["Answer yes or no", "Tell me a story", "Describe it"])
def test_a_failure_always_shows(prompt: str) -> None:
    model = find_model("claude-haiku-4-5")
    assert model is not None
    assert answer(body(prompt), model, "cut_off").stop_reason == "max_tokens"
    refused = answer(body(prompt), model, "refusal")
    assert (refused.content, refused.stop_reason) == ([], "refusal")


def test_tokens_are_cut_as_they_are_counted() -> None:
    text = "Kürze 海と港 abc " * 20
    for limit in range(1, estimate(text) + 2):
        kept = cut(text, limit)
        assert text.startswith(kept)
        assert estimate(kept) <= limit
