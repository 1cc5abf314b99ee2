"""Names the language of a text, or says `und` (ISO 639's "undetermined") when it cannot tell.

Scripts that belong to one language decide by themselves. Among languages that share a script, the
commonest words vote; fewer than two votes (one in at most SHORT_WORDS words), or a tie, is `und`.
Short prompts are often `und`, which is the honest answer: a wrong one would make a rule in
routing.yaml misfire.
"""

from __future__ import annotations

from typing import Final

from llmrouter.domain.patterns import compile_pattern
from llmrouter.features.words import letters

READ_CHARACTERS: Final = 1500
SHORT_WORDS: Final = 6

_VOTERS: Final = {
    "en": "the of and to in is that it for you with on are this be as have what how can from "
    "write my please why does an by or not was when where would should explain list "
    "hello hi thanks about as do no me into at which its their his her",
    "de": "der die das und ist nicht ein eine ich du sie wir mit auf für von zu den dem im wie "
    "was warum bitte kann auch es als aus bei sind oder schreibe erkläre wird haben hallo danke",
    "fr": "le la les et est un une des du je tu vous nous avec sur pour pas que qui dans ce cette "
    "comment pourquoi quel quelle au aux sont écris explique bonjour merci moi ou mon",
    "es": "el la los las y es un una de que en por para con no se su lo como cómo qué cuál del al "
    "son está este esta escribe explica hola gracias mi porque",
    "it": "il lo la gli e è un una di che in per con non si come cosa perché del della dei sono "
    "questo questa scrivi spiega ciao grazie mi nel alla",
    "pt": "o a os as e é um uma de que em por para com não se como qual do da dos das são este "
    "esta escreva explique olá obrigado meu no na você",
    "nl": "de het een en is van ik je niet dat die in op te met voor zijn aan wat hoe waarom kan "
    "ook er maar om schrijf deze dit hallo bedankt mijn naar",
    "ru": "и в не на я что с как это по но из у за для почему можно напиши объясни привет мне "
    "сколько какой",
    "uk": "і в не на я що з як це по але із у за для чому можна напиши поясни привіт мені "
    "скільки який",
}
_BY_WORD: Final[dict[str, tuple[str, ...]]] = {}
for _language, _words in _VOTERS.items():
    for _word in _words.split():
        if len(_word) == 1 and _word.isascii():
            continue  # single letters are variables and answer choices more often than words
        _BY_WORD[_word] = (*_BY_WORD.get(_word, ()), _language)

_SCRIPTS: Final = (
    ("ja", compile_pattern("[\u3040-\u30ff]+")),
    ("ko", compile_pattern("[\uac00-\ud7a3\u1100-\u11ff]+")),
    ("zh", compile_pattern("[\u4e00-\u9fff\u3400-\u4dbf]+")),
    ("th", compile_pattern("[\u0e00-\u0e7f]+")),
    ("he", compile_pattern("[\u0590-\u05ff]+")),
    ("ar", compile_pattern("[\u0600-\u06ff]+")),
    ("hi", compile_pattern("[\u0900-\u097f]+")),
    ("el", compile_pattern("[\u0370-\u03ff]+")),
)
_SCRIPT_SHARE: Final = 0.3
"""The share of letters from which on a script decides; formulas use Greek letters too."""
_KANA_SHARE: Final = 0.1


def language_of(text: str) -> str:
    """An ISO 639-1 code, or `und`. Reads the first READ_CHARACTERS characters."""
    sample = text[:READ_CHARACTERS].lower()
    words = letters(sample)
    if not words:
        return "und"
    if not sample.isascii() and (scripted := _by_script(sample, sum(map(len, words)))):
        return scripted
    votes: dict[str, float] = {}
    for word in words:
        languages = _BY_WORD.get(word)
        if languages:
            for language in languages:  # a word of several languages is worth less to each
                votes[language] = votes.get(language, 0.0) + 1.0 / len(languages)
    if not votes:
        return "und"
    ranked = sorted(votes.values(), reverse=True)
    few = ranked[0] < (1.0 if len(words) <= SHORT_WORDS else 2.0)
    tied = len(ranked) > 1 and ranked[0] < ranked[1] * 1.2
    return "und" if few or tied else max(votes, key=votes.__getitem__)


def _by_script(sample: str, count: int) -> str | None:
    for language, pattern in _SCRIPTS:
        share = _KANA_SHARE if language == "ja" else _SCRIPT_SHARE
        if sum(map(len, pattern.findall(sample))) >= share * count:
            return language
    return None
