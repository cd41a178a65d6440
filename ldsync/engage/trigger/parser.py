"""From tokens to the tree: recursive descent with one token of look-ahead.

    expression = conjunction { "or" conjunction }
    conjunction = term { "and" term }
    term       = "(" expression ")" | [ "!" ] function | comparison

docs/triggers.md has the grammar whole, and says where Segment's own parser reads past things that
are refused here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from ldsync.engage.trigger.errors import TriggerError
from ldsync.engage.trigger.lexer import Kind, Token, read_number, shown, tokens
from ldsync.engage.trigger.syntax import (
    AllOf,
    AnyOf,
    Condition,
    Expression,
    Field,
    Operator,
    number_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_CHARACTERS: Final = 10_000
"""Characters of a trigger, far more than anyone writes."""

MOST_NESTING: Final = 50
"""Parentheses that may be open at once; the depth of the recursion below."""

_FIELDS: Final = ("type", "event", "name", "userId")
_CONTAINERS: Final = ("properties", "traits", "context")
_ALL_FIELDS: Final = ", ".join((*_FIELDS, *(f"{root}.…" for root in _CONTAINERS)))
_TEXT_FIELDS: Final = ("type", "event", "name")
"""Fields on which Segment compares `true` as text; on `userId` it does not."""

_FUNCTIONS: Final = ("contains", "match")
_EQUALITIES: Final = ("=", "!=")
_ORDERS: Final = ("<", "<=", ">", ">=")
_TRUTHS: Final = {"true": Operator.IS_TRUE, "false": Operator.IS_FALSE}
_WORDS_WITH_TEXT: Final = (
    Operator.CONTAINS,
    Operator.NOT_CONTAINS,
    Operator.STARTS_WITH,
    Operator.NOT_STARTS_WITH,
    Operator.ENDS_WITH,
    Operator.NOT_ENDS_WITH,
)
_WORDS_ALONE: Final = (
    Operator.EXISTS,
    Operator.NOT_EXISTS,
    Operator.IS_TRUE,
    Operator.IS_FALSE,
)


def parse_expression(text: str) -> Expression:
    """Return the tree of a trigger.

    Raises:
        TriggerError: The text is no trigger, or it is longer or deeper than the limits above.
    """
    if len(text) > MOST_CHARACTERS:
        raise TriggerError(
            text,
            MOST_CHARACTERS,
            f"a trigger has at most {MOST_CHARACTERS:,} characters, this one has {len(text):,}",
        )
    return _Parser(text).whole()


class _Parser:
    """Reads one text: `_token` is what comes next, `_before` what was read last."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens(text)
        self._token = next(self._tokens)
        self._before = ""
        self._open = 0

    def whole(self) -> Expression:
        expression = self._expression()
        if self._token.kind is not Kind.END:
            self._fail('"and", "or" or the end')
        return expression

    def _expression(self) -> Expression:
        flat: list[Condition | AllOf] = []
        for part in self._parts("or", self._conjunction):
            flat.extend(part.parts if isinstance(part, AnyOf) else (part,))
        return AnyOf(tuple(flat)) if len(flat) > 1 else flat[0]

    def _conjunction(self) -> Expression:
        flat: list[Condition | AnyOf] = []
        for part in self._parts("and", self._term):
            flat.extend(part.parts if isinstance(part, AllOf) else (part,))
        return AllOf(tuple(flat)) if len(flat) > 1 else flat[0]

    def _parts(self, word: str, part: Callable[[], Expression]) -> Iterator[Expression]:
        yield part()
        while self._token.written == word:
            self._advance()
            yield part()

    def _term(self) -> Expression:
        if self._token.written == "(":
            return self._group()
        negated = self._token.written == "!"
        if negated:
            self._advance()
        if self._token.written in _FUNCTIONS:
            return self._function(negated=negated)
        if negated:
            self._fail("contains(…) or match(…), which is all that can be negated,")
        return self._comparison()

    def _group(self) -> Expression:
        if self._open == MOST_NESTING:
            self._refuse(f"a trigger has at most {MOST_NESTING} parentheses open at once")
        self._open += 1
        self._advance()
        expression = self._expression()
        self._expect(")", '"and", "or" or ")"')
        self._open -= 1
        return expression

    def _function(self, *, negated: bool) -> Condition:
        name = self._advance().written
        self._expect("(", '"("')
        field = self._field()
        self._expect(",", '","')
        operator, value = (
            (Operator.CONTAINS, self._text_value()) if name == "contains" else self._pattern()
        )
        self._expect(")", '")"')
        return Condition(field, Operator(f"not_{operator}") if negated else operator, value)

    def _pattern(self) -> tuple[Operator, str]:
        """Read the pattern of `match`: one star, before or after the text."""
        pattern = self._token.text
        if self._token.kind is not Kind.TEXT:
            self._fail('a pattern in quotes, such as "Order*",')
        if pattern.count("*") != 1 or "*" not in {pattern[0], pattern[-1]}:
            self._refuse(
                "a pattern has one * at its start or at its end; for anything else there are "
                "contains, starts_with and ends_with"
            )
        self._advance()
        if pattern.endswith("*"):
            return Operator.STARTS_WITH, pattern[:-1]
        return Operator.ENDS_WITH, pattern[1:]

    def _comparison(self) -> Condition:
        field = self._field()
        operator = self._token.written
        if operator in _WORDS_ALONE:
            self._advance()
            return Condition(field, Operator(operator))
        if operator in _WORDS_WITH_TEXT:
            self._advance()
            return Condition(field, Operator(operator), self._text_value())
        if operator in _ORDERS:
            self._advance()
            return Condition(field, Operator(operator), self._number_value())
        if operator not in _EQUALITIES:
            self._fail("an operator (= != < <= > >= or a word such as exists)")
        self._advance()
        return self._equality(field, negated=operator == "!=")

    def _equality(self, field: Field, *, negated: bool) -> Condition:
        """Read what a field is compared with, which decides how."""
        value = self._token
        if value.written == "null":
            self._advance()
            return Condition(field, Operator.EXISTS if negated else Operator.NOT_EXISTS)
        if value.kind is Kind.NUMBER and field.path:
            self._advance()
            operator = Operator.NUMBER_NOT_EQUALS if negated else Operator.NUMBER_EQUALS
            return Condition(field, operator, value.number)
        if value.written in _TRUTHS and field.root not in _TEXT_FIELDS:
            if negated:
                self._refuse(
                    f'"!=" would compare with the text "{value.written}": write = with the other '
                    "one, or quotes if the text is meant"
                )
            self._advance()
            return Condition(field, _TRUTHS[value.written])
        return Condition(
            field, Operator.NOT_EQUALS if negated else Operator.EQUALS, self._text_value()
        )

    def _text_value(self) -> str:
        """Read a literal as text; numbers and truths stand for how they are written."""
        token = self._token
        if token.kind is Kind.TEXT:
            text = token.text
        elif token.kind is Kind.NUMBER:
            text = number_text(token.number)
        elif token.written in _TRUTHS:
            text = token.written
        else:
            self._fail("a text in quotes or a number")
        self._advance()
        return text

    def _number_value(self) -> float:
        """Read a number; in quotes it is one, too."""
        token = self._token
        number = read_number(token.text) if token.kind is Kind.TEXT else token.number
        if token.kind not in {Kind.TEXT, Kind.NUMBER} or number is None:
            self._fail("a number")
        self._advance()
        return number

    def _field(self) -> Field:
        token = self._token
        if token.kind is not Kind.NAME:
            self._fail("a condition")
        root, *path = token.steps
        if root in _CONTAINERS:
            if not path:
                self._refuse(f"{root} needs a path, such as {root}.plan")
        elif root not in _FIELDS:
            hint = '; to negate, write "!" before a function' if token.written == "not" else ""
            self._refuse(
                f"{shown(token.written)} is neither a field ({_ALL_FIELDS}) nor a function "
                f"({', '.join(_FUNCTIONS)}){hint}"
            )
        elif path:
            self._refuse(f"{root} has no parts")
        self._advance()
        return Field(root, tuple(path))

    def _advance(self) -> Token:
        token = self._token
        self._before = token.written
        self._token = next(self._tokens)
        return token

    def _expect(self, written: str, expected: str) -> None:
        if self._token.written != written:
            self._fail(expected)
        self._advance()

    def _fail(self, expected: str) -> NoReturn:
        """Say what was expected instead of the next token."""
        after = f" after {shown(self._before)}" if self._before else ""
        found = shown(self._token.written) if self._token.written else "the end"
        self._refuse(f"expected {expected}{after} but found {found}")

    def _refuse(self, message: str) -> NoReturn:
        """Say what is wrong with the next token."""
        raise TriggerError(self._text, self._token.position, message)
