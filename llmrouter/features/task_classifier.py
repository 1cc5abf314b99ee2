"""Reads what kind of request a text is: task, language, code, maths, question.

Readable rules over words and characters. Tasks are checked in the order of INSTRUCTIONS and the
first hit wins; an instruction counts when it stands near the beginning or the end of the text,
where people put it, so that a document which happens to say "summarize" is not a request to do so.
When the user's turn gives no instruction, the system prompt's opening may ("You are a translator").
Nothing is learned here and nothing is asked: a guess that a rule in routing.yaml builds on must be
one that its author can follow. A task that the caller declares wins over all of it.
"""

from __future__ import annotations

import re
from typing import Final

from llmrouter.domain.features import Traits
from llmrouter.features.language import language_of
from llmrouter.features.side_tasks import side_task

HEAD_CHARACTERS: Final = 400
TAIL_CHARACTERS: Final = 300
SYSTEM_CHARACTERS: Final = 300
READ_CHARACTERS: Final = 6000
EXACT_WORDS_CHARACTERS: Final = 100_000

_PROGRAMMING = (
    r"(?:python|javascript|typescript|java|kotlin|swift|rust|golang|c\+\+|c#|php|ruby|perl|scala|"
    r"haskell|bash|powershell|sql|html|css|react|django|flask|regex(?:p)?|regular expression|"
    r"dockerfile|kubernetes|terraform|makefile)"
)
_ARTEFACT = (
    rf"(?:{_PROGRAMMING}|code|function|program|script|class|method|algorithm|unit tests?|"
    r"api|endpoint|query|bug|compiler|stack ?trace|exception|funktion|programm|fonction|función|"
    r"funzione|função|functie)"
)
INSTRUCTIONS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    (
        "code",
        re.compile(
            rf"\b(?:write|implement|create|build|develop|generate|fix|debug|refactor|optimi[sz]e|"
            rf"port|convert|translate|review|complete|add|schreibe?|écris|escribe|scrivi|escreva|"
            rf"schrijf)\b(?:\W+[\w+#'-]+){{0,6}}?\W+{_ARTEFACT}(?![\w+#])"
            rf"|\bin {_PROGRAMMING}(?![\w+#])"
            r"|\btraceback \(most recent call last\)"
        ),
    ),
    (
        "translation",
        re.compile(
            r"\btranslat(?:e|ion|or|ing)\b|\bübersetz|\btraduc?[iteuzr]|\btradu[czi]|\bvertaal|"
            r"\bпереве(?:ди|сти)|翻译|翻訳|번역"
        ),
    ),
    (
        "summarization",
        re.compile(
            r"\bsummari[sz]|\bsummary\b|\btl;?dr\b|\bkey (?:points|takeaways)\b|\bin a nutshell\b|"
            r"\bcondense\b|\bzusammenfass|\bfasse?\b.{0,80}\bzusammen\b|\brésum|\bresum[ei]|"
            r"\briassum|\bsamenvat|\bкратко изложи|总结|要約|요약"
        ),
    ),
    (
        "extraction",
        re.compile(
            r"\bextract(?:s|ing|ion)?\b|\bextrahier|\bextrai[stz]|\bextrae\b|\bestrai\b|"
            r"\b(?:pull out|list|find|identify) (?:all|every|each) (?:of )?(?:the )?"
            r"(?:names?|dates?|entit|e-?mails?|numbers?|phone|address|places?|people|mentions?)|"
            r"\b(?:named )?entit(?:y|ies) recognition\b|\bparse (?:the|this|these)\b.{0,60}\binto\b"
        ),
    ),
    (
        "classification",
        re.compile(
            r"\bclassif(?:y|ies|ication)\b|\bcategori[sz]e\b|\bsentiment\b|\bklassifizier|"
            r"\bclassifi(?:er|ca)|\bis (?:this|the following)\b.{0,60}\b(?:spam|toxic|positive|"
            r"negative|offensive)\b|\b(?:label|tag) (?:the|this|these|each)\b"
        ),
    ),
    (
        "writing",
        re.compile(
            r"\b(?:write|draft|compose|rewrite|rephrase|paraphrase|proofread|brainstorm|create|"
            r"schreibe?|verfasse|rédige|écris|redacta|escribe|scrivi|escreva|schrijf)\b"
            r"(?:\W+[\w'-]+){0,6}?\W+(?:e-?mail|mail|letter|essay|story|poem|blog|article|post|"
            r"tweet|song|lyrics|speech|haiku|limerick|novel|paragraph|caption|slogan|headline|"
            r"description|review|cover letter|resume|report|dialogue|script|joke|text|sentences?|"
            r"brief|gedicht|geschichte|aufsatz|lettre|poème|histoire|carta|poema|historia|"
            r"lettera|poesia|storia|história|verhaal)\b"
            r"|\b(?:rewrite|rephrase|paraphrase|proofread)\b"
        ),
    ),
)
_MATH_TEXT: Final = re.compile(
    r"\\(?:frac|sqrt|sum|int|boxed|begin\{|cdot|times|leq?|geq?|mathbb|mathrm|pi|theta)\b"
    r"|\d\s*[+*/^×÷=]\s*[-(]?\d|[a-z0-9)]\s*\^\s*[{(]?[-\d]|\d\s+-\s+\d"
    r"|\b\d*[xyz]\s*[-+*/^=]\s*\d"
)
_MATH_WORDS: Final = re.compile(
    r"\b(?:solve (?:for|the equation|the system)|equations?|integrals?|integrate|derivatives?|"
    r"differentiate|polynomials?|factori[sz]e|eigenvalues?|matri(?:x|ces)|theorem|probability|"
    r"arithmetic|algebra|calculus|geometry|trigonometr\w+|hypotenuse|perimeter|prime number|"
    r"square root|prove that|logarithm|gleichung|"
    r"équation|ecuación|equazione|equação|vergelijking)\b"
)
_HOW_MANY: Final = re.compile(
    r"\bhow (?:many|much|far|long|old|tall|fast)\b|\bwhat (?:is|was|are|percent|fraction)\b"
    r"(?:\W+\w+){0,5}?\W+(?:total|average|sum|percentage|probability|ratio|cost|profit|number)\b|"
    r"\bcalculate\b|\bcompute\b|\bwie ?viele?\b|\bcombien\b|\bcuánt|\bquant[oia]\b|\bhoeveel\b"
)
_NUMBER: Final = re.compile(
    r"\d+|\b(?:two|three|four|five|six|seven|eight|nine|ten|dozen|half|third|quarter|twice|double)\b"
)
_CODE: Final = re.compile(
    r"```|^[ \t]*(?:def|class) \w+.*:[ \t]*$|\bfunction\s*\w*\s*\([^)\n]{0,200}\)\s*\{|"
    r"^[ \t]*#include[ \t]*[<\"]|"
    r"^[ \t]*(?:import [\w.]+(?: as \w+)?|from [\w.]+ import .+)$|\bconsole\.log\(|"
    r"^[ \t]*(?:public|private|protected|static)\s+[\w<>\[\]]+\s+\w+|\bselect\b[^\n]{1,200}\bfrom\b"
    r"\s+\w+\s*(?:where|join|group|order|limit|;|$)|</\w+>|=>\s*[{(]|[;{}][ \t]*\n.*[;{}][ \t]*$|"
    r"\b(?:const|let|var) \w+ ?=|\btraceback \(most recent call last\)|^[ \t]*fn \w+\(|"
    r"\bassert \w+\(|\breturn \w+;",
    re.MULTILINE,
)
_ASKS: Final = re.compile(
    r"^\W*(?:who|what|when|where|why|which|whose|whom|how|is|are|was|were|do|does|did|can|could|"
    r"will|would|should|has|have|wer|was|wann|wo|warum|welche[rs]?|wie|qui|que|quoi|quand|où|"
    r"pourquoi|comment|quel(?:le)?s?|quién|qué|cuándo|dónde|cómo|cuál|chi|cosa|quando|dove|"
    r"perché|quem|onde|wie|wat|wanneer|waar|waarom)\b"
)
_ANSWER_SLOT: Final = re.compile(r"\banswer:\s*$")
_CHOICES: Final = re.compile(r"^\(?a[.):]\s.*^\(?b[.):]\s", re.MULTILINE | re.DOTALL)
_CHAT: Final = re.compile(
    r"^\W*(?:hi|hello|hey|good (?:morning|evening|afternoon)|thanks?(?: you)?|ok(?:ay)?|yes|no|"
    r"yo|sup|how are you|hallo|danke|bonjour|salut|merci|hola|gracias|ciao|grazie|olá|"
    r"obrigad[oa]|bedankt|go on|continue|привет|спасибо|你好|こんにちは|안녕)\b(?:\W+\w+){0,4}\W*$"
)
_UNSPACED: Final = frozenset({"zh", "ja", "th"})


def measure(text: str, system: str = "", declared_task: str | None = None) -> Traits:
    """The traits of a user turn, under the given system prompt and declared task."""
    sample = _ends(text, READ_CHARACTERS // 2, READ_CHARACTERS // 2).lower()
    language = language_of(text)
    code = _CODE.search(sample) is not None
    question = _is_question(sample)
    math = _is_math(sample, code)
    return Traits(
        task=_declared(declared_task) or _task(sample, system, (code, math, question)),
        language=language,
        words=count_words(text, language),
        code=code,
        math=math,
        question=question,
        side_task=side_task(system, text),
    )


def count_words(text: str, language: str) -> int:
    """Words between spaces; two characters are a word where a language writes no spaces.

    Beyond EXACT_WORDS_CHARACTERS it is extrapolated from the beginning.
    """
    head = text[:EXACT_WORDS_CHARACTERS]
    words = len(head.split())
    if language in _UNSPACED:
        words = max(words, len(head) // 2)
    return words if len(head) == len(text) else words * len(text) // len(head)


def _declared(task: str | None) -> str | None:
    return task.strip().lower() or None if task else None


def _ends(text: str, head: int, tail: int) -> str:
    return text if len(text) <= head + tail else f"{text[:head]}\n{text[-tail:]}"


def _is_question(sample: str) -> bool:
    return (
        "?" in sample
        or "？" in sample
        or _ASKS.search(sample) is not None
        or _ANSWER_SLOT.search(sample) is not None
    )


def _is_math(sample: str, code: bool) -> bool:
    if not code and _MATH_TEXT.search(sample) is not None:
        return True
    if _MATH_WORDS.search(_ends(sample, HEAD_CHARACTERS, TAIL_CHARACTERS)) is not None:
        return True
    if _HOW_MANY.search(sample) is None:
        return False
    return len(_NUMBER.findall(sample)) >= 2


def _task(sample: str, system: str, shape: tuple[bool, bool, bool]) -> str:
    code, math, question = shape
    asked = _instructed(_ends(sample, HEAD_CHARACTERS, TAIL_CHARACTERS))
    if asked is not None:
        return asked
    if _CHAT.search(sample) is not None:
        return "chat"
    if system and (standing := _instructed(system[:SYSTEM_CHARACTERS].lower())) is not None:
        return standing
    if code:
        return "code"
    if math:
        return "math"
    return "question_answering" if question or _CHOICES.search(sample) else "general"


def _instructed(ends: str) -> str | None:
    return next((task for task, pattern in INSTRUCTIONS if pattern.search(ends)), None)
