"""How text is cut into words for the search: one rule for what is indexed and for what is asked.

In: text. Out: the same for a tokenizer that knows only letters and blanks. Chinese, Japanese and Korean have no
blanks between words: each of their characters becomes a word, and what is asked becomes a phrase of neighbours, so
that any run of them is found wherever it stands. ß is written ss; accents are the tokenizer's business.
"""

from __future__ import annotations

import re
import unicodedata

UNSPACED = re.compile(
    "([\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f])"
)


def search_words(text: str) -> str:
    """`text` with compatibility forms made plain (full width, ligatures) and unspaced scripts spaced."""
    if text.isascii():
        return text
    plain = unicodedata.normalize("NFKC", text).replace("ß", "ss").replace("ẞ", "SS")
    return UNSPACED.sub(r" \1 ", plain)
