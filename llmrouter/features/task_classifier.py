"""Reads what kind of request a text is: task, language, code, maths, question.

Readable rules over words and characters. Tasks are checked in the order of INSTRUCTIONS and the
first hit wins; an instruction counts when it stands near the beginning or the end of the text,
where people put it, so that a document which happens to say "summarize" is not a request to do so.
When the user's turn gives no instruction, the system prompt's opening may ("You are a translator").
Nothing is learned here and nothing is asked: a guess that a rule in routing.yaml builds on must be
one that its author can follow. A task that the caller declares wins over all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from llmrouter.domain.features import Traits
from llmrouter.domain.patterns import END, START, Pattern, compile_pattern
from llmrouter.features.language import language_of
from llmrouter.features.side_tasks import side_task
from llmrouter.features.words import words

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
_NAME_END = r"(?:[^\w+#]|$)"
INSTRUCTIONS: Final[tuple[tuple[str, Pattern], ...]] = (
    (
        "code",
        compile_pattern(
            rf"{START}(?:write|implement|create|build|develop|generate|fix|debug|refactor|"
            rf"optimi[sz]e|port|convert|translate|review|complete|add|schreibe?|écris|escribe|"
            rf"scrivi|escreva|schrijf)(?:\W+[\w+#'-]+){{0,6}}?\W+{_ARTEFACT}{_NAME_END}"
            rf"|{START}in {_PROGRAMMING}{_NAME_END}"
            rf"|{START}traceback \(most recent call last\)"
        ),
    ),
    (
        "translation",
        compile_pattern(
            rf"{START}translat(?:e|ion|or|ing){END}|{START}(?:übersetz|traduc?[iteuzr]|tradu[czi]|"
            r"vertaal|переве(?:ди|сти))|翻译|翻訳|번역"
        ),
    ),
    (
        "summarization",
        compile_pattern(
            rf"{START}(?:summari[sz]|zusammenfass|résum|resum[ei]|riassum|samenvat|кратко изложи)|"
            rf"{START}(?:summary|tl;?dr|key (?:points|takeaways)|in a nutshell|condense){END}|"
            rf"{START}fasse?[^\w\n](?:.{{0,78}}[^\w\n])?zusammen{END}|总结|要約|요약"
        ),
    ),
    (
        "extraction",
        compile_pattern(
            rf"{START}(?:extract(?:s|ing|ion)?|extrae|estrai){END}|"
            rf"{START}(?:extrahier|extrai[stz])|"
            rf"{START}(?:pull out|list|find|identify) (?:all|every|each) (?:of )?(?:the )?"
            r"(?:names?|dates?|entit|e-?mails?|numbers?|phone|address|places?|people|mentions?)|"
            rf"{START}(?:named )?entit(?:y|ies) recognition{END}|"
            rf"{START}parse (?:the|this|these)[^\w\n](?:.{{0,58}}[^\w\n])?into{END}"
        ),
    ),
    (
        "classification",
        compile_pattern(
            rf"{START}(?:classif(?:y|ies|ication)|categori[sz]e|sentiment){END}|"
            rf"{START}(?:klassifizier|classifi(?:er|ca))|"
            rf"{START}is (?:this|the following)[^\w\n](?:.{{0,58}}[^\w\n])?(?:spam|toxic|"
            rf"positive|negative|offensive){END}|{START}(?:label|tag) (?:the|this|these|each){END}"
        ),
    ),
    (
        "writing",
        compile_pattern(
            rf"{START}(?:write|draft|compose|rewrite|rephrase|paraphrase|proofread|brainstorm|"
            r"create|schreibe?|verfasse|rédige|écris|redacta|escribe|scrivi|escreva|schrijf)"
            r"(?:\W+[\w'-]+){0,6}?\W+(?:e-?mail|mail|letter|essay|story|poem|blog|article|post|"
            r"tweet|song|lyrics|speech|haiku|limerick|novel|paragraph|caption|slogan|headline|"
            r"description|review|cover letter|resume|report|dialogue|script|joke|text|sentences?|"
            r"brief|gedicht|geschichte|aufsatz|lettre|poème|histoire|carta|poema|historia|"
            rf"lettera|poesia|storia|história|verhaal){END}"
            rf"|{START}(?:rewrite|rephrase|paraphrase|proofread){END}"
        ),
    ),
)
_MATH_TEXT: Final = compile_pattern(
    rf"\\(?:frac|sqrt|sum|int|boxed|cdot|times|leq?|geq?|mathbb|mathrm|pi|theta){END}"
    r"|\\begin\{\w"
    r"|\d\s*[+*/^×÷=]\s*[-(]?\d|[a-z0-9)]\s*\^\s*[{(]?[-\d]|\d\s+-\s+\d"
    rf"|{START}\d*[xyz]\s*[-+*/^=]\s*\d"
)
_MATH_WORDS: Final = compile_pattern(
    rf"{START}(?:solve (?:for|the equation|the system)|equations?|integrals?|integrate|"
    r"derivatives?|differentiate|polynomials?|factori[sz]e|eigenvalues?|matri(?:x|ces)|theorem|"
    r"probability|arithmetic|algebra|calculus|geometry|trigonometr\w+|hypotenuse|perimeter|"
    r"prime number|square root|prove that|logarithm|gleichung|"
    rf"équation|ecuación|equazione|equação|vergelijking){END}"
)
_HOW_MANY: Final = compile_pattern(
    rf"{START}how (?:many|much|far|long|old|tall|fast){END}|{START}what (?:is|was|are|percent|"
    r"fraction)(?:\W+\w+){0,5}?\W+(?:total|average|sum|percentage|probability|ratio|cost|profit|"
    rf"number){END}|{START}(?:calculate|compute|wie ?viele?|combien|quant[oia]|hoeveel){END}|"
    rf"{START}cuánt"
)
_NUMBER: Final = compile_pattern(r"\d")
_NUMBERS: Final = compile_pattern(r"\d\D+\d")
_NUMBER_WORDS: Final = frozenset(
    "two three four five six seven eight nine ten dozen half third quarter twice double".split()  # noqa: SIM905 - prose, not twenty quotation marks
)
_CODE: Final = compile_pattern(
    rf"```|^[ \t]*(?:def|class) \w+.*:[ \t]*$|"
    rf"{START}function\s*\w*\s*\([^)\n]{{0,200}}\)\s*\{{|"
    r"^[ \t]*#include[ \t]*[<\"]|"
    r"^[ \t]*(?:import [\w.]+(?: as \w+)?|from [\w.]+ import .+)$|"
    rf"{START}console\.log\(|"
    r"^[ \t]*(?:public|private|protected|static)\s+[\w<>\[\]]+\s+\w+|"
    rf"{START}select[^\w\n](?:[^\n]{{0,198}}[^\w\n])?from\s+\w+\s*"
    r"(?:where|join|group|order|limit|;|$)|"
    r"</\w+>|=>\s*[{(]|[;{}][ \t]*\n.*[;{}][ \t]*$|"
    rf"{START}(?:const|let|var) \w+ ?=|{START}traceback \(most recent call last\)|"
    rf"^[ \t]*fn \w+\(|{START}assert \w+\(|{START}return \w+;",
    multiline=True,
)
_ASKS: Final = compile_pattern(
    r"^\W*(?:who|what|when|where|why|which|whose|whom|how|is|are|was|were|do|does|did|can|could|"
    r"will|would|should|has|have|wer|was|wann|wo|warum|welche[rs]?|wie|qui|que|quoi|quand|où|"
    r"pourquoi|comment|quel(?:le)?s?|quién|qué|cuándo|dónde|cómo|cuál|chi|cosa|quando|dove|"
    rf"perché|quem|onde|wie|wat|wanneer|waar|waarom){END}"
)
_ANSWER_SLOT: Final = compile_pattern(rf"{START}answer:\s*$")
_CHOICES: Final = compile_pattern(r"^\(?a[.):]\s.*^\(?b[.):]\s", multiline=True, dot_all=True)
_CHAT: Final = compile_pattern(
    r"^\W*(?:hi|hello|hey|good (?:morning|evening|afternoon)|thanks?(?: you)?|ok(?:ay)?|yes|no|"
    r"yo|sup|how are you|hallo|danke|bonjour|salut|merci|hola|gracias|ciao|grazie|olá|"
    r"obrigad[oa]|bedankt|go on|continue|привет|спасибо|你好|こんにちは|안녕)(?:\W+\w+){0,4}\W*$"
)
_UNSPACED: Final = frozenset({"zh", "ja", "th"})


@dataclass(frozen=True, slots=True)
class _Sample:
    """The text that is read, in lower case: all of it and its ends, both as UTF-8."""

    text: str
    whole: bytes
    ends: bytes

    @classmethod
    def of(cls, text: str) -> _Sample:
        """The sample of a text; half a surrogate pair counts as a question mark would."""
        sample = _ends(text, READ_CHARACTERS // 2, READ_CHARACTERS // 2).lower()
        ends = _ends(sample, HEAD_CHARACTERS, TAIL_CHARACTERS)
        return cls(sample, sample.encode("utf-8", "replace"), ends.encode("utf-8", "replace"))


def measure(text: str, system: str = "", declared_task: str | None = None) -> Traits:
    """The traits of a user turn, under the given system prompt and declared task."""
    sample = _Sample.of(text)
    language = language_of(text)
    code = _CODE.found_in(sample.whole)
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


def _is_question(sample: _Sample) -> bool:
    return (
        "?" in sample.text
        or "？" in sample.text
        or _ASKS.found_in(sample.whole)
        or _ANSWER_SLOT.found_in(sample.whole)
    )


def _is_math(sample: _Sample, code: bool) -> bool:
    if not code and _MATH_TEXT.found_in(sample.whole):
        return True
    if _MATH_WORDS.found_in(sample.ends):
        return True
    return _HOW_MANY.found_in(sample.whole) and _has_two_numbers(sample)


def _has_two_numbers(sample: _Sample) -> bool:
    """Whether two numbers stand there, in digits or in words."""
    if _NUMBERS.found_in(sample.whole):
        return True
    spelt = sum(word in _NUMBER_WORDS for word in words(sample.text))
    return spelt + _NUMBER.found_in(sample.whole) >= 2


def _task(sample: _Sample, system: str, shape: tuple[bool, bool, bool]) -> str:
    code, math, question = shape
    asked = _instructed(sample.ends)
    if asked is not None:
        return asked
    if _CHAT.found_in(sample.whole):
        return "chat"
    if system:
        opening = system[:SYSTEM_CHARACTERS].lower().encode("utf-8", "replace")
        if (standing := _instructed(opening)) is not None:
            return standing
    if code:
        return "code"
    if math:
        return "math"
    return "question_answering" if question or _CHOICES.found_in(sample.whole) else "general"


def _instructed(ends: bytes) -> str | None:
    return next((task for task, pattern in INSTRUCTIONS if pattern.found_in(ends)), None)
