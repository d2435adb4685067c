"""The part of OData that the sandbox supports: `$filter`, `$orderby`, `$select`, `$skip`, `$top` over flat records."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from operator import eq, ge, gt, le, lt, ne

Record = dict[str, object]
Test = Callable[[Mapping[str, object]], bool]

_COMPARISONS: dict[str, Callable[..., bool]] = {"eq": eq, "ne": ne, "gt": gt, "ge": ge, "lt": lt, "le": le}
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<time>\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d))"
    r"|(?P<number>-?\d+(?:\.\d+)?)|(?P<mark>[(),])|(?P<word>[A-Za-z_]\w*))"
)


class BadQuery(ValueError):
    """Raised for a query option that is invalid or not supported.

    `status` is the answer's HTTP status. `rule` names the kind of refusal, such as `syntax`. `code` is the vendor's
    error code; if it is empty, the answer has the status as its code.
    """

    def __init__(self, detail: str, status: int = 400, *, rule: str = "syntax", code: str = "") -> None:
        super().__init__(detail)
        self.status, self.rule, self.code = status, rule, code


@dataclass(slots=True)
class Filter:
    """A parsed `$filter`. `test` returns True for a record that matches.

    `comparisons` has the field name, operator and value of each comparison, in the order of the text; the value of `in`
    is a list. `ors` is the number of `or` operators.
    """

    test: Test
    comparisons: list[tuple[str, str, object]] = field(default_factory=list)
    ors: int = 0


def parse_filter(text: str, *, ignores_after_in: bool = False, whole_seconds: bool = False) -> Filter:
    """Parse the text of a `$filter`: comparisons, `in`, `and`, `or`, `not` and parentheses are supported.

    With `ignores_after_in`, conditions that follow `in (…) and` do not count, as at AMPRE. With `whole_seconds`,
    timestamps are compared without their fractions.

    Raises:
        BadQuery: the filter cannot be parsed.
    """
    return _Parser(text, ignores_after_in, whole_seconds).whole()


class _Parser:
    """Reads one `$filter`, by recursive descent, into a function that tests records: `_Parser(…).whole()`."""

    def __init__(self, text: str, ignores_after_in: bool, whole_seconds: bool) -> None:
        self._tokens = _tokens(text)
        self._position = 0
        self._ignores_after_in, self._whole_seconds = ignores_after_in, whole_seconds
        self._read = Filter(lambda _: True)

    def whole(self) -> Filter:
        self._read.test = self._any_of()
        if self._peek() != ("end", ""):
            raise BadQuery(f"$filter continues with {self._peek()[1]!r} where its end is expected")
        return self._read

    def _any_of(self) -> Test:
        tests = [self._all_of()]
        while self._accept("word", "or"):
            self._read.ors += 1
            tests.append(self._all_of())
        return lambda record: any(test(record) for test in tests)

    def _all_of(self) -> Test:
        tests = [self._term()]
        has_in = self._is_last("in")
        while self._accept("word", "and"):
            test = self._term()
            if not (has_in and self._ignores_after_in):
                tests.append(test)
            has_in = has_in or self._is_last("in")
        return lambda record: all(test(record) for test in tests)

    def _is_last(self, operator: str) -> bool:
        return self._read.comparisons[-1][1] == operator

    def _term(self) -> Test:
        if self._accept("word", "not"):
            test = self._term()
            return lambda record: not test(record)
        if self._accept("mark", "("):
            test = self._any_of()
            self._expect("mark", ")")
            return test
        return self._comparison()

    def _comparison(self) -> Test:
        name, operator = self._expect("word"), self._expect("word")
        if operator == "in":
            values = self._values()
            self._read.comparisons.append((name, operator, values))
            return lambda record: any(_holds(eq, record.get(name), value) for value in values)
        if operator not in _COMPARISONS:
            raise BadQuery(f"$filter: {operator!r} is not a comparison; use one of {', '.join(_COMPARISONS)}, in")
        compare, value = _COMPARISONS[operator], self._value()
        self._read.comparisons.append((name, operator, value))
        is_cut = self._whole_seconds
        return lambda record: _holds(compare, record.get(name), value, is_cut=is_cut)

    def _values(self) -> list[object]:
        self._expect("mark", "(")
        values = [self._value()]
        while self._accept("mark", ","):
            values.append(self._value())
        self._expect("mark", ")")
        return values

    def _value(self) -> object:
        kind, text = self._next()
        if kind == "text":
            return text[1:-1].replace("''", "'")
        if kind == "time":
            return _time(text)
        if kind == "number":
            return float(text)
        if kind == "word" and text in {"true", "false", "null"}:
            return {"true": True, "false": False, "null": None}[text]
        raise BadQuery(f"$filter: {text!r} is not a value; write texts in 'single quotes'")

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._position]

    def _next(self) -> tuple[str, str]:
        token = self._peek()
        self._position = min(self._position + 1, len(self._tokens) - 1)
        return token

    def _accept(self, kind: str, text: str) -> bool:
        found = self._peek() == (kind, text)
        if found:
            self._next()
        return found

    def _expect(self, kind: str, text: str | None = None) -> str:
        found, token = self._next()
        if found != kind or text not in {None, token}:
            raise BadQuery(f"$filter: {token or 'the end'!r} where {text or 'a name'} is expected")
        return token


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, at = [], 0
    text = text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise BadQuery(f"$filter cannot be parsed from {text[at : at + 20]!r} on")
        tokens.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return [*tokens, ("end", "")]


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise BadQuery(f"{text} is not a timestamp") from None


def _holds(compare: Callable[..., bool], field: object, value: object, *, is_cut: bool = False) -> bool:
    if isinstance(value, datetime) and isinstance(field, str):
        field = _time(field)
        if is_cut:
            field, value = field.replace(microsecond=0), value.replace(microsecond=0)
    try:
        return compare(field, value)
    except TypeError:  # null with a value, or a number with a text
        return False


@dataclass(frozen=True, slots=True)
class PageLimits:
    """How many rows a page has: `default` without `$top`, and at most `most`.

    A `$top` over `most` is refused; if `is_cut` is True, the page has `most` rows instead. A `$skip` over `most_skip`
    is refused.
    """

    default: int = 100
    most: int = 1000
    is_cut: bool = False
    most_skip: int = 100_000


def page(
    records: Sequence[Record], options: Mapping[str, str], limits: PageLimits = PageLimits(), test: Test | None = None
) -> tuple[list[Record], int | None]:
    """Return the page of the records that a query asks for, and the `$skip` of the next page; None if it is the last.

    `options` are the query's options by name, such as `$top`; `$select` is not applied. `test` returns True for the
    records that match, and replaces the option `$filter`; None: the option is used.

    Raises:
        BadQuery: an option is invalid.
    """
    if test is None and options.get("$filter"):
        test = parse_filter(options["$filter"]).test
    chosen = [record for record in records if test is None or test(record)]
    for name, is_descending in reversed(orders(options.get("$orderby", ""))):
        chosen.sort(key=partial(_sort_key, name), reverse=is_descending)
    skip = _whole(options, "$skip", 0, limits.most_skip)
    wanted = _whole(options, "$top", limits.default, None if limits.is_cut else limits.most)
    after = skip + min(wanted, limits.most)
    has_more = wanted and after < len(chosen)
    return chosen[skip:after], after if has_more else None


def _sort_key(name: str, record: Record) -> tuple[float, str]:
    value = record.get(name)
    return (value, "") if isinstance(value, (int, float)) else (0, str(value or ""))


def orders(text: str) -> list[tuple[str, bool]]:
    """Return the field names of an `$orderby`, each with True if its order is descending.

    Raises:
        BadQuery: a part is no order.
    """
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, direction = part.partition(" ")
        if direction.strip() not in {"", "asc", "desc"} or not name.isidentifier():
            raise BadQuery(f"$orderby: {part!r} must be NAME, NAME asc or NAME desc", rule="order")
        found.append((name, direction.strip() == "desc"))
    return found


def _whole(options: Mapping[str, str], name: str, default: int, most: int | None) -> int:
    text = options.get(name, str(default))
    if not text.isdecimal() or (most is not None and int(text) > most):
        limit = "" if most is None else f" up to {most}"
        raise BadQuery(f"{name} is {text!r}; it must be a whole number{limit}", rule=name.removeprefix("$"))
    return int(text)


def selected(record: Record, select: str) -> Record:
    """Return a copy of a record with only the fields that `select`, the text of a `$select`, names.

    With an empty `select`, the copy has all fields.
    """
    names = {name.strip() for name in select.split(",")}
    return {name: value for name, value in record.items() if not select or name in names}
