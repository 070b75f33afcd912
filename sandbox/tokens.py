"""Tokens, estimated: about four Latin letters each, about one for a Chinese character."""


def estimate(text: str) -> int:
    """Never 0 for text that is not empty.

    A character beyond ASCII takes one to three bytes more than a Latin letter in UTF-8; two
    more, as CJK has, weigh one token, so that accents and Cyrillic lie between.
    """
    if text.isascii():
        return (len(text) + 3) // 4
    wide = (len(text.encode("utf-8", "surrogatepass")) - len(text)) / 2
    return max(1, round(max(0.0, len(text) - wide) / 4 + wide))


def cut(text: str, limit: int) -> str:
    """The longest beginning of a text that is at most `limit` tokens."""
    if estimate(text) <= limit:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if estimate(text[:middle]) <= limit:
            low = middle
        else:
            high = middle - 1
    return text[:low]
