"""Answers in sentences from a fixed bank, with words of the prompt put in."""

from random import Random

from sandbox.languages import Prompt

BANK = {
    "en": [
        "The short answer is that {a} matters more than {b} here.",
        "Looking closer, {a} follows from {b} in most cases.",
        "Three things stand out: {a}, {b} and the way they meet.",
        "It helps to begin with {a} and to leave {b} for later.",
        "People often mention {a} first, although {b} explains more.",
        "In practice {a} is settled quickly, while {b} takes patience.",
        "Without {a}, there would be little to say about {b}.",
        "A fair summary would name {a} and then {b}.",
        "Whoever knows {a} will recognise {b} at once.",
        "On balance {a} is the safer choice, and {b} the bolder one.",
        "By evening nothing was left of {a} but a note about {b}.",
        "Seen from a distance, {a} and {b} are two sides of one question.",
    ],
    "de": [
        "Kurz gesagt: Hier zählt {a} mehr als {b}.",
        "Bei näherem Hinsehen folgt {a} meist aus {b}.",
        "Drei Dinge fallen auf: {a}, {b} und wie beides zusammenhängt.",
        "Am besten beginnt man mit {a} und hebt sich {b} für später auf.",
        "Oft wird zuerst {a} genannt, obwohl {b} mehr erklärt.",
        "In der Praxis ist {a} schnell geklärt, {b} dagegen braucht Geduld.",
        "Ohne {a} gäbe es über {b} wenig zu sagen.",
        "Wer {a} kennt, erkennt auch {b} sofort.",
        "Alles in allem ist {a} die sichere Wahl und {b} die mutigere.",
        "Aus der Ferne sind {a} und {b} zwei Seiten derselben Frage.",
    ],
    "fr": [
        "En bref, {a} compte ici davantage que {b}.",
        "À y regarder de près, {a} découle le plus souvent de {b}.",
        "Trois choses ressortent : {a}, {b} et leur rencontre.",
        "Mieux vaut commencer par {a} et garder {b} pour la suite.",
        "On cite souvent {a} en premier, mais {b} explique davantage.",
        "En pratique, {a} se règle vite, tandis que {b} demande de la patience.",
        "Sans {a}, il y aurait peu à dire de {b}.",
        "Qui connaît {a} reconnaît aussitôt {b}.",
        "Tout compte fait, {a} est le choix sûr et {b} le choix audacieux.",
        "De loin, {a} et {b} sont les deux faces d'une même question.",
    ],
    "es": [
        "En resumen, aquí importa más {a} que {b}.",
        "Visto de cerca, {a} suele venir de {b}.",
        "Tres cosas llaman la atención: {a}, {b} y su encuentro.",
        "Conviene empezar por {a} y dejar {b} para después.",
        "Muchos nombran primero {a}, aunque {b} explica más.",
        "En la práctica {a} se resuelve pronto, mientras que {b} pide paciencia.",
        "Sin {a} habría poco que decir de {b}.",
        "Quien conoce {a} reconoce {b} enseguida.",
        "En conjunto, {a} es la opción segura y {b} la más audaz.",
        "De lejos, {a} y {b} son dos caras de la misma pregunta.",
    ],
    "zh": [
        "简单来说，这里{a}比{b}更重要。",
        "仔细看，{a}多半来自{b}。",
        "有三点值得注意：{a}、{b}，以及两者的关系。",
        "最好先从{a}开始，再谈{b}。",
        "人们常常先提到{a}，其实{b}更能说明问题。",
        "实际上{a}很快就能解决，而{b}需要耐心。",
        "没有{a}，关于{b}就没有多少可说的。",
        "了解{a}的人，马上会认出{b}。",
        "总的来看，{a}更稳妥，{b}更大胆。",
        "从远处看，{a}和{b}是同一个问题的两面。",
    ],
    "ja": [
        "要するに、ここでは{a}が{b}よりも大切です。",
        "よく見ると、{a}はたいてい{b}から生まれます。",
        "注目すべき点は、{a}と{b}、そして両者の関係です。",
        "まず{a}から始めて、{b}は後に回すとよいでしょう。",
        "最初に{a}が挙げられがちですが、{b}のほうが多くを説明します。",
        "実際には{a}はすぐに片づき、{b}には忍耐が必要です。",
        "{a}がなければ、{b}について語ることは少ないでしょう。",
        "{a}を知る人は、すぐに{b}に気づきます。",
        "全体として、{a}は安全な選択で、{b}は大胆な選択です。",
        "遠くから見れば、{a}と{b}は同じ問いの両面です。",
    ],
}
# Joined by commas; they stand in where a prompt has few words, and make long answers richer. All of
# them fit unchanged after every preposition of the bank.
FILLING = {
    "en": "the question,the context,a letter,the morning,the harbour,an old map,the weather",
    "de": "Mut,Erfahrung,Licht,Arbeit,Ruhe,Zeit,Neugier",
    "fr": "la question,la lettre,la lumière,l'expérience,la mer,la vieille carte,la chance",
    "es": "la pregunta,la carta,la mañana,la luz,la experiencia,la calma,la suerte",
    "zh": "问题,背景,一封信,清晨,港口,旧地图,时间",
    "ja": "問題,背景,手紙,朝,港,古い地図,時間",
}
LONG_WORDS = frozenset({
    "story", "essay", "article", "novel", "tale", "geschichte", "aufsatz", "erzählung", "märchen",
    "histoire", "récit", "dissertation", "conte", "historia", "cuento", "ensayo", "relato",
})  # fmt: skip
LONG_MARKS = ("故事", "散文", "作文", "小说", "物語", "小説", "エッセイ")
ONE_MARKS = (
    "one sentence", "single sentence", "in a sentence", "briefly", "headline", "ein satz",
    "einen satz", "einem satz", "une phrase", "une seule phrase", "una frase", "una sola frase",
    "一句话", "一文で",
)  # fmt: skip
UNSPACED = ("zh", "ja")
PARAGRAPH = 5


def write(prompt: Prompt, draw: Random) -> str:
    """Two to four sentences; one, or dozens in paragraphs, where the prompt asks for that."""
    count = _length(prompt, draw)
    words = prompt.content_words
    filling = FILLING[prompt.language].split(",")
    if not words or count > PARAGRAPH:
        words = words + filling
    sentences: list[str] = []
    bank: list[str] = []
    for _ in range(count):
        bank = bank or draw.sample(BANK[prompt.language], len(BANK[prompt.language]))
        first, second = draw.sample(words if len(words) > 1 else [*words, draw.choice(filling)], 2)
        sentences.append(_capitalised(bank.pop().format(a=first, b=second)))
    space = "" if prompt.language in UNSPACED else " "
    paragraphs = [
        space.join(sentences[start : start + PARAGRAPH])
        for start in range(0, len(sentences), PARAGRAPH)
    ]
    return "\n\n".join(paragraphs)


def _capitalised(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _length(prompt: Prompt, draw: Random) -> int:
    lowered = prompt.beginning.lower()
    if any(mark in lowered for mark in ONE_MARKS):
        return 1
    if LONG_WORDS & prompt.vocabulary or any(mark in lowered for mark in LONG_MARKS):
        return draw.randint(40, 60)
    return draw.randint(2, 4)
