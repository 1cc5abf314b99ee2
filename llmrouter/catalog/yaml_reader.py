"""Reads YAML field by field, so that every complaint has a file, a line and a remedy.

Files are composed into nodes and never constructed into objects: a node knows its line, and no tag
in a file can make the reader build anything. Anchors and aliases are refused (ten lines of them can
stand for a billion values), and so are duplicate keys (the last one would win in silence), files
beyond MAX_CHARS and nesting beyond MAX_DEPTH.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from llmrouter.domain.patterns import compile_pattern
from llmrouter.errors import Problem

MAX_CHARS: Final = 256 * 1024
MAX_DEPTH: Final = 16
_NUMBER = compile_pattern(r"[-+]?(\d[\d_]*)?\.?\d+([eE][-+]?\d+)?|[-+]?\d[\d_]*\.")
_STRING, _NULL, _BOOL = (f"tag:yaml.org,2002:{name}" for name in ("str", "null", "bool"))
_TRUE = frozenset({"true", "yes", "on"})


@dataclass(slots=True)
class Sheet:
    """One file being read: where its YAML starts, and every problem found in it so far."""

    file: str
    first_line: int = 1
    problems: list[Problem] = field(default_factory=list)

    def report(self, at: yaml.Node | int, message: str) -> None:
        """Note a problem at a node, or at a line of the file."""
        line = at if isinstance(at, int) else self.line_of(at)
        self.problems.append(Problem(self.file, line, message))

    def line_of(self, node: yaml.Node) -> int:
        """The line of the file on which a node begins."""
        return int(node.start_mark.line) + self.first_line

    def compose(self, text: str) -> yaml.MappingNode | None:
        """The file's mapping, or None after a report."""
        if len(text) > MAX_CHARS:
            self.report(self.first_line, f"the file is over {MAX_CHARS // 1024} KB; shorten it")
            return None
        try:
            node = _compose(text)
        except yaml.reader.ReaderError as error:
            line = self.first_line + text.count("\n", 0, error.position)
            self.report(line, f"character {_code_point(error)} is not allowed in YAML; remove it")
            return None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = self.first_line + (mark.line if mark else 0)
            self.report(line, f"not valid YAML: {error.problem or error.context}")
            return None
        if node is None:
            self.report(self.first_line, "there is nothing here: settings are `key: value` lines")
            return None
        if not isinstance(node, yaml.MappingNode):
            self.report(node, "this must be `key: value` lines")
            return None
        return node


class _Composer(yaml.SafeLoader):
    """A composer that refuses aliases and deep nesting."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.composer.ComposerError(
                None,
                None,
                "anchors (&) and aliases (*) are refused; write it out",
                event.start_mark,
            )
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, "nested too deep", event.start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _compose(text: str) -> yaml.Node | None:
    composer = _Composer(text)
    try:
        node: yaml.Node | None = composer.get_single_node()
        return node
    except RecursionError:  # flow collections nest in the parser before they nest here
        raise yaml.MarkedYAMLError(problem="nested too deep") from None
    finally:
        composer.dispose()


def _code_point(error: yaml.reader.ReaderError) -> str:
    found = error.character
    return f"U+{found if isinstance(found, int) else ord(found):04X}"


class Block:
    """A mapping being read. Unknown and duplicate keys are reported when it is opened.

    Every reader returns None (or the given default) when the key is absent or wrong; wrong ones are
    reported, and `required` ones that are absent too. `path` names the block in messages.
    """

    def __init__(
        self, sheet: Sheet, node: yaml.MappingNode, known: Sequence[str], path: str = ""
    ) -> None:
        self.sheet = sheet
        self.node = node
        self.path = path
        self._values: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is None:
                sheet.report(key, "a key must be a plain word")
            elif name in self._values:
                first = sheet.line_of(self._values[name][0])
                sheet.report(key, f"`{path}{name}` stands here twice (first on line {first})")
            elif name not in known:
                sheet.report(key, f"unknown key `{path}{shown(name)}`{hint(name, known)}")
            else:
                self._values[name] = (key, value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def at(self, name: str) -> yaml.Node:
        """Where a key stands; the block itself when it is absent."""
        return self._values[name][0] if name in self._values else self.node

    def fail(self, name: str, message: str) -> None:
        """Report a problem with a key's value."""
        self.sheet.report(self.at(name), f"`{self.path}{name}` {message}")

    def missing(self, name: str, why: str = "") -> None:
        """Report a key that must be there."""
        self.sheet.report(self.node, f"`{self.path}{name}` is missing{why}")

    def text(self, name: str, *, required: bool = False) -> str | None:
        """A non-empty string."""
        value = self._value(name, required)
        if value is None:
            return None
        text = _text(value)
        if text is None:
            self.fail(name, "must be text" + (", in quotes" if _is_scalar(value) else ""))
        elif not text.strip():
            self.fail(name, "is empty")
            return None
        return text

    def number(
        self,
        name: str,
        low: float = 0.0,
        high: float = math.inf,
        *,
        required: bool = False,
        above: bool = False,
    ) -> float | None:
        """A finite number from `low` (itself excluded with `above`) to `high`."""
        value = self._value(name, required)
        if value is None:
            return None
        number = _number(value)
        if number is None:
            self.fail(name, f"must be a number, not {_kind(value)}")
            return None
        if number < low or number > high or (above and number == low):
            self.fail(name, f"must be {_range(low, high, above)}, not {number:g}")
            return None
        return number

    def whole(
        self, name: str, low: int = 0, high: int = 10**9, *, required: bool = False
    ) -> int | None:
        """A whole number from `low` to `high`."""
        number = self.number(name, low, high, required=required)
        if number is None:
            return None
        if number != int(number):
            self.fail(name, f"must be a whole number, not {number:g}")
            return None
        return int(number)

    def flag(self, name: str) -> bool | None:
        """True or false."""
        value = self._value(name, False)
        if value is None:
            return None
        if not isinstance(value, yaml.ScalarNode) or value.tag != _BOOL:
            self.fail(name, f"must be true or false, not {_kind(value)}")
            return None
        return value.value.lower() in _TRUE

    def choice(self, name: str, options: Sequence[str]) -> str | None:
        """One of a few words."""
        text = self.text(name)
        if text is not None and text not in options:
            self.fail(name, f"cannot be {shown(text)}{hint(text, options)}")
            return None
        return text

    def texts(self, name: str, *, single: bool = False) -> list[tuple[str, yaml.Node]] | None:
        """A list of strings with their nodes; with `single` one bare string counts as a list."""
        value = self._value(name, False)
        if value is None:
            return None
        if single and (text := _text(value)) is not None:
            return [(text, value)]
        if not isinstance(value, yaml.SequenceNode):
            self.fail(name, f"must be a list, such as [a, b], not {_kind(value)}")
            return None
        found = []
        for item in value.value:
            text = _text(item)
            if text is None or not text.strip():
                self.sheet.report(item, f"`{self.path}{name}` holds {_kind(item)}; give text")
            else:
                found.append((text, item))
        return found

    def block(self, name: str, known: Sequence[str], *, required: bool = False) -> Block | None:
        """A nested mapping."""
        value = self._value(name, required)
        if value is None:
            return None
        if not isinstance(value, yaml.MappingNode):
            example = "{" + ", ".join(f"{key}: …" for key in known[:2]) + "}"
            self.fail(name, f"must be a block such as {example}, not {_kind(value)}")
            return None
        return Block(self.sheet, value, known, f"{self.path}{name}.")

    def open_block(self, name: str) -> Block | None:
        """A nested mapping whose keys are the author's own."""
        value = self._value(name, False)
        if not isinstance(value, yaml.MappingNode):
            return None if value is None else self.block(name, ("name",))
        names = [key.value for key, _ in value.value if isinstance(key, yaml.ScalarNode)]
        return Block(self.sheet, value, names, f"{self.path}{name}.")

    def blocks(self, name: str, known: Sequence[str] | None) -> list[Block]:
        """A list of mappings; with `known` None their keys are left to the caller."""
        value = self._value(name, False)
        if value is None:
            return []
        if not isinstance(value, yaml.SequenceNode):
            self.fail(name, f"must be a list of blocks, each after a dash, not {_kind(value)}")
            return []
        found = []
        for number, item in enumerate(value.value):
            if not isinstance(item, yaml.MappingNode):
                self.sheet.report(item, f"`{self.path}{name}` holds {_kind(item)}; give a block")
                continue
            path = f"{self.path}{name}[{number}]."
            names = known if known is not None else [key.value for key, _ in item.value]
            found.append(Block(self.sheet, item, names, path))
        return found

    def value(self, name: str) -> object:
        """Any plain value: text, number, flag, or a list of them. None when it is anything else."""
        node = self._value(name, False)
        if isinstance(node, yaml.SequenceNode):
            items = [_plain(item) for item in node.value]
            return None if None in items else tuple(items)
        return None if node is None else _plain(node)

    def document(self, name: str) -> object:
        """Any value at all, as JSON has it."""
        return _document(self._values[name][1])

    def _value(self, name: str, required: bool) -> yaml.Node | None:
        pair = self._values.get(name)
        if pair is None or (isinstance(pair[1], yaml.ScalarNode) and pair[1].tag == _NULL):
            if required:
                self.missing(name) if pair is None else self.fail(name, "has no value")
            return None
        return pair[1]


def hint(name: str, options: Iterable[str]) -> str:
    """A suggestion to append to a message: the nearest option, or all of them when few."""
    known = list(dict.fromkeys(options))
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    if near:
        return f": did you mean `{near[0]}`?"
    return f"; there are: {', '.join(known)}" if 0 < len(known) <= 20 else ""


def shown(text: str) -> str:
    """A value from a file as messages show it: printable and short."""
    clean = "".join(c if c.isprintable() else "?" for c in text)
    return clean if len(clean) <= 60 else clean[:57] + "..."


def _is_scalar(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode)


def _text(node: yaml.Node) -> str | None:
    if isinstance(node, yaml.ScalarNode) and node.tag == _STRING:
        return str(node.value)
    return None


def _number(node: yaml.Node) -> float | None:
    plain = isinstance(node, yaml.ScalarNode) and node.style is None and len(node.value) <= 40
    if not plain or not _NUMBER.fullmatch(node.value):
        return None
    number = float(node.value.replace("_", ""))
    return number if math.isfinite(number) else None


def _plain(node: yaml.Node) -> object:
    if not isinstance(node, yaml.ScalarNode) or node.tag == _NULL:
        return None
    if node.tag == _BOOL:
        return node.value.lower() in _TRUE
    number = _number(node)
    if number is not None:
        return int(number) if number == int(number) else number
    return str(node.value)


def _document(node: yaml.Node) -> object:
    if isinstance(node, yaml.SequenceNode):
        return [_document(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): _document(value) for key, value in node.value}
    return _plain(node)


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if isinstance(node, yaml.MappingNode):
        return "a block"
    return "nothing" if node.tag == _NULL else repr(shown(node.value))


def _range(low: float, high: float, above: bool) -> str:
    if high == math.inf or high >= 10**9:
        return f"more than {low:g}" if above else f"at least {low:g}"
    return f"between {low:g} and {high:g}"
