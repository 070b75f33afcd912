"""The one name that people are told of an encoding, whatever codecs call it."""

ENCODINGS = {
    "utf-8": "UTF-8",
    "utf-16": "UTF-16",
    "cp1252": "Windows-1252",
    "iso8859-15": "ISO 8859-15",
    "cp1250": "Windows-1250, Central European",
    "cp1251": "Windows-1251, Cyrillic",
    "mac-roman": "Mac Roman",
    "cp932": "Shift JIS, Japanese",
    "gb18030": "GB 18030, Chinese",
    "big5": "Big5, Chinese",
    "cp949": "EUC-KR, Korean",
}
# Without a byte order mark the order has to be said; nearly all files have the first one.
UNMARKED = {"utf-16-le": "UTF-16", "utf-16-be": "UTF-16, big-endian"}


def name_of(encoding: str) -> str:
    """One that is not in the list keeps its codec's name."""
    return (ENCODINGS | UNMARKED).get(encoding, encoding)


def choices(encoding: str) -> dict[str, str]:
    """What can be chosen, by codec, for a file that is read in this one."""
    name = name_of(encoding)
    known = {encoding if said == name else value: said for value, said in ENCODINGS.items()}
    return known if encoding in known else {encoding: name} | known
