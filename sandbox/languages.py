"""In which language a prompt is, and which of its words are worth repeating."""

import re
from functools import cached_property

STOP_WORDS = {
    "en": (
        "the and for that this with you are from have not what which about into your will can one"
        " each only its their has was were been they answer write please describe following"
        " classify summarise summarize translate reply exactly there then than when where would"
        " should could tell explain give more some any all how why who had she him her but our out"
        " it's over under very just above make made is it of to in on or as be an by at if do does"
        " word words sentence sentences text short review tweet translate whether first choose"
    ),
    "de": (
        "der die das und ist nicht ein eine einen einem einer mit für auf von den dem des im zu"
        " war wie was wird sind als auch nach bei aus über zum zur sich oder nur dass antworte"
        " schreibe bitte fasse beschreibe folgenden folgende folgender satz sätzen wort text kurz"
        " mir ich du sie er es wir ihr hat haben kann soll warum wer wo wann welche welcher welches"
        " mein meine sein ihre nie kam an am beim vom so noch schon wörter bewertung"
        " zusammen erzähle"
    ),
    "fr": (
        "le la les un une des du de et est pas que qui dans pour sur avec ce cette ces au aux par"
        " plus son sa ses il elle nous vous je ne se ou où mais sont être était écris écrivez"
        " réponds répondez résume décris suivant suivante phrase phrases mot texte court moi quel"
        " quelle pourquoi comment quand qui mon ma mes n'est l'un l'une c'est d'un d'une suivants"
        " mots avis jamais uniquement seul raconte"
    ),
    "es": (
        "el la los las un una unos unas de del y es no que en para con por su sus se al fue"
        " estaba lo como más pero este esta estos ha son ser o si muy escribe escriba responde"
        " responda resume describe siguiente siguientes frase frases palabra texto breve me qué"
        " cuál cómo tu por qué cuándo quién dónde mi mis estas palabras nunca reseña solo"
        " sola cuenta cuéntame"
    ),
}
STOPS = {name: frozenset(words.split()) for name, words in STOP_WORDS.items()}
EVERY_STOP = frozenset().union(*STOPS.values())
# A hyphen or an apostrophe joins, but not the pronoun of a French question: est-il, dit-on.
WORD = re.compile(r"[^\W\d_]+(?:(?!-(?:ils?|elles?|on|tu|je|vous|nous|ce)\b)[-'’][^\W\d_]+)*")
HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
KANA = re.compile(r"[\u3040-\u30ff]")
# Chinese has no spaces: its most common particles stand in for them.
PARTICLES = re.compile(
    r"[^\u3400-\u4dbf\u4e00-\u9fff]+"
    r"|为什么|什么|怎么|如何|而且|但是|总结|评论|一句话|以下|其中|之一|回答|分类"
    r"|[的了是在和我你他她它这那有不也都很对于用请把一个条以为吗呢并就与及]"
)
# Kanji with a verb's or an adjective's ending after them are no nouns.
JAPANESE_WORD = re.compile(
    r"[\u30a1-\u30fa\u30fc]{2,}|[\u4e00-\u9fff]++(?![いうえきくけこさしすせたちっつてみむめりるれろわ])"
)
JAPANESE_STOPS = frozenset(("次", "何", "文", "一文", "以下", "一", "下記"))
LOOKED_AT = 800
LONGEST_HAN = 6


class Prompt:
    """A text that is asked, of which the beginning decides."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.beginning = text[:LOOKED_AT]

    @cached_property
    def words(self) -> list[str]:
        return WORD.findall(self.beginning)

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        return frozenset(word.lower() for word in set(self.words))

    @cached_property
    def language(self) -> str:
        """One of en, de, fr, es, zh, ja: by script, else by common words, else en."""
        if not self.beginning.isascii():
            kana, han = len(KANA.findall(self.beginning)), len(HAN.findall(self.beginning))
            if kana + han > 2 * sum(word.isascii() for word in self.words):
                return "ja" if kana * 10 > han else "zh"
        return max(STOPS, key=lambda name: len(STOPS[name] & self.vocabulary))

    @cached_property
    def content_words(self) -> list[str]:
        """The words that carry the meaning, each once, in their order."""
        words = self.words
        if self.language == "zh":
            words = [part[:LONGEST_HAN] for part in PARTICLES.split(self.beginning)]
        elif self.language == "ja":
            words = JAPANESE_WORD.findall(self.beginning)
        return [word for word in dict.fromkeys(words) if self._carries(word)]

    @cached_property
    def names(self) -> list[str]:
        """Content words with a capital inside the text, else all of them."""
        names = [word for word in self.content_words if word[0].isupper()]
        return [word for word in names if not self.beginning.startswith(word)] or (
            self.content_words
        )

    def _carries(self, word: str) -> bool:
        if self.language == "ja":
            return word not in JAPANESE_STOPS
        shortest = 2 if self.language == "zh" else 3
        return len(word) >= shortest and word.lower() not in EVERY_STOP
