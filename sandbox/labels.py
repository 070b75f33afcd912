"""A prompt that names the labels to choose from gets one of them, alone."""

import re
from random import Random

# What announces a list of labels, in the languages of the bank: where one of the cues stands, the
# pattern looks closer. The cues alone are quick to find in a long text.
CUES = (
    "one of", "one word", "a single word", "either", "label", "categor", "class", "option",
    "choice", "choose", "pick", "select", "answer", "reply", "respond", "is it", "is this",
    "is the", "einer von", "eines von", "einem", "eine der", "eines der", "entweder",
    "klassifizier", "kategorie", "antworte", "l'un", "l’un", "un seul mot", "parmi", "soit",
    "catégorie", "classe", "répond", "uno de", "una de", "una sola palabra", "clasific",
    "categoría", "responde", "之一", "类别", "标签", "选择", "分类为", "分为", "回答", "其中",
    "一个", "一個", "いずれか", "どれか", "一つ", "ひとつ", "1つ", "分類", "ラベル", "カテゴリ",
    "のいずれか",
)  # fmt: skip
INTRODUCTION = re.compile(
    r"(?:\b(?:(?:any |choose )?one of|either|labels?|categor(?:y|ies)|classes|options?|choices?"
    r"|choose (?:from|between|among)|classif\w+[^.:\n]{0,80}?\b(?:as|into)"
    r"|(?:answer|reply|respond)(?: only| just)?(?: with| in)?(?: only| just| exactly)?"
    r"|is (?:it|this(?: \w+(?= (?!or |oder )\w))?|the \w+)"
    r"|eine[rs] von|entweder|kategorien?|antworte(?: nur)? mit"
    r"|klassifizier\w+[^.:\n]{0,80}?\bals|parmi|soit|catégories?|classe\w*[^.:\n]{0,80}?\bcomme"
    r"|répond\w*(?: uniquement)? par|una? de|uno de|clasific\w+[^.:\n]{0,80}?\bcomo|categorías?"
    r"|responde(?: solo)? con)\b|之一|类别|标签|选择|分类为|分为|回答"
    r"|分類|ラベル|カテゴリ|のいずれか)"
    r"(?: (?:the )?(?:following|these|diesen|folgenden|suivantes?|siguientes?)"
    r"(?: (?:labels|categories|words|options|classes))?)?"
    r"\s*[:：]?\s*",
    re.IGNORECASE,
)
# Where one of several is asked for, the list may come a few words later, after a colon.
ONE_OF = re.compile(
    r"(?:\b(?:one of|(?:choose|pick|select) one|(?:one|a single) word"
    r"|eine[mnrs]? (?:von|der|dieser)|mit einem wort"
    r"|l['’]une? des?|un seul mot|un[ao] de|una sola palabra)\b"
    r"|其中|之一|一个|一個|いずれか|どれか|(?:一つ|ひとつ|1つ)(?:選|だけ)|ラベル)"
    r"[^:：.。!?！？,，、;；\n]{0,40}[:：]\s*",
    re.IGNORECASE,
)
# In Japanese the list comes before the word that asks to choose.
JAPANESE_LISTS = (
    re.compile(r"(?P<list>(?:「[^」\n]{1,20}」[、，,・]?\s*(?:または|か)?\s*){2,})"
               r"[^。\n]{0,10}(?:いずれか|どれか|どちらか|一つ|分類|答え|選)"),
    re.compile(r"(?P<list>[^\s、。：「」]{1,20}(?:、[^\s、。：「」]{1,12})+?)"
               r"の(?:うち)?(?:いずれか|どれか|どちらか|一つ)"),
    re.compile(r"(?P<list>はい\s*(?:か|または|、)\s*いいえ)\s*で"),
)  # fmt: skip
JAPANESE_SEPARATOR = re.compile(r"[、，,・「」\s]+(?:または|か)?|または|(?<=はい)か")
LEADING = re.compile(r"(?:and|or|und|oder|et|ou|y|o)\b", re.IGNORECASE)
CONJUNCTION = re.compile(r"\b(?:or|oder|ou|o)\b|或|、|/|\|", re.IGNORECASE)
SEPARATOR = re.compile(
    r"\s*(?:,|;|/|\||、|，|；)\s*(?:(?:or|and|oder|und|ou|et|o|y|或|或者|か)(?=\s|[\"'“「『])\s*)?"
    r"|\s+(?:or|oder|ou|o)\s+|\s*(?:或者|或)\s*",
    re.IGNORECASE,
)
LIST_END = re.compile(r"[.。!?！？\n()（）:：]|\s[-–—]\s|\{")
BULLETS = re.compile(r"\A\s*(?:[-*•]|\d+[.)])\s+")
QUOTES = "\"'`“”‘’「」『』*[]<>"
MOST_WORDS = 3
MOST_LETTERS = 30
MOST_CUES = 50
LOOKED_AT = 1_000

GOOD = (
    "great", "love", "excellent", "perfect", "happy", "thank", "wonderful", "best", "fast", "toll",
    "super", "gut", "schnell", "parfait", "merci", "rapide", "excelente", "gracias", "buen",
    "很好", "喜欢", "满意", "不错", "棒", "良い", "素晴", "最高",
)  # fmt: skip
BAD = (
    "bad", "broken", "hate", "terrible", "awful", "worst", "refund", "slow", " late", "never",
    "schlecht", "kaputt", "langsam", "spät", "mauvais", "cassé", " lent", "malo", "roto", "lento",
    "nunca", "差", "坏", "失望", "退款", "慢", "悪い", "壊れ", "遅い", "最悪",
)  # fmt: skip


def choose(texts: list[str], draw: Random) -> str | None:
    """The label that the texts speak for, else any of those named; None where none are."""
    for text in texts:
        found = find_labels(text)
        if found:
            labels, rest = found
            others = [other for other in texts if other != text]
            return _fitting(labels, " ".join([rest, *others]).lower(), draw)
    return None


def find_labels(text: str) -> tuple[list[str], str] | None:
    """The named labels, and the text without their list."""
    if len(text) > 2 * LOOKED_AT:
        text = f"{text[:LOOKED_AT]}\n{text[-LOOKED_AT:]}"
    return _listed_before(text) or _listed_after(text)


def _listed_before(text: str) -> tuple[list[str], str] | None:
    for pattern in () if text.isascii() else JAPANESE_LISTS:
        for match in pattern.finditer(text):
            parts = [part for part in JAPANESE_SEPARATOR.split(match["list"]) if part]
            # What stands before the list without a space: 次の文を肯定、否定のいずれかに
            labels = [parts[0].rpartition("を")[2], *parts[1:]]
            if len(labels) >= 2 and all(map(_is_label, labels)):
                return labels, text[: match.start()] + " " + text[match.end() :]
    return None


def _listed_after(text: str) -> tuple[list[str], str] | None:
    for start in _cued(text.lower()):
        match = ONE_OF.match(text, start) or INTRODUCTION.match(text, start)
        if match is None:
            continue
        following = text[match.end() : match.end() + LOOKED_AT]
        if BULLETS.match(following):
            labels = _bulleted(following)
        else:
            labels = _inline(following, certain=match.group().rstrip().endswith((":", "：")))
        if len(labels) >= 2:
            length = following.find(labels[-1]) + len(labels[-1])
            return labels, text[: match.start()] + " " + text[match.end() + length :]
    return None


def _cued(lowered: str) -> list[int]:
    starts: set[int] = set()
    for cue in CUES:
        at = lowered.find(cue)
        while at >= 0 and len(starts) < MOST_CUES:
            starts.add(at)
            at = lowered.find(cue, at + 1)
    return sorted(starts)


def _bulleted(text: str) -> list[str]:
    labels = []
    for line in text.lstrip().splitlines():
        if not BULLETS.match(line):
            break
        name = re.split(r"[:：]|\s[-–—]\s", BULLETS.sub("", line))[0]
        labels.append(name.strip().strip(QUOTES))
    return labels if all(map(_is_label, labels)) else []


def _inline(text: str, certain: bool) -> list[str]:
    """Labels in running text; without a colon before them they need an *or* between them."""
    end = LIST_END.search(text)
    listed = text[: end.start() if end else LOOKED_AT]
    if not certain and (LEADING.match(listed) or not CONJUNCTION.search(listed)):
        return []
    parts = SEPARATOR.split(listed)
    labels = [part.strip().strip(QUOTES).strip() for part in parts if part.strip()]
    return labels if all(map(_is_label, labels)) else []


def _is_label(text: str) -> bool:
    return 0 < len(text) <= MOST_LETTERS and len(text.split()) <= MOST_WORDS


def _fitting(labels: list[str], lowered: str, draw: Random) -> str:
    named = [label for label in labels if label.lower() in lowered]
    if len(named) == 1:
        return named[0]
    mood = sum(map(lowered.count, GOOD)) - sum(map(lowered.count, BAD))
    wanted = ("pos", "正", "积", "好", "良") if mood > 0 else ("neg", "负", "消", "悪", "差")
    moods = [label for label in labels if label.lower().startswith(wanted)]
    return moods[0] if mood and moods else draw.choice(labels)
