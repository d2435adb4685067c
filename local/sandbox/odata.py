"""The part of OData that the sandbox supports: `$filter`, `$orderby`, `$select`, `$skip`, `$top` over flat records."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from operator import eq, ge, gt, le, lt, ne

Record = dict[str, object]
Test = Callable[[Mapping[str, object]], bool]

MAX_PAGE = 1000
_DEFAULT_PAGE = 100
_MAX_SKIP = 100_000
_COMPARISONS: dict[str, Callable[..., bool]] = {"eq": eq, "ne": ne, "gt": gt, "ge": ge, "lt": lt, "le": le}
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<time>\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d))"
    r"|(?P<number>-?\d+(?:\.\d+)?)|(?P<mark>[(),])|(?P<word>[A-Za-z_]\w*))"
)


class BadQuery(ValueError):
    """Raised for a query option that is invalid or not supported. `status` is the answer's HTTP status, 400 or 501."""

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.status = status


def parse_filter(text: str) -> Test:
    """Return a function that gets a record, and returns True if the record matches the `$filter` in `text`.

    Comparisons, `in`, `and`, `or`, `not` and parentheses are supported.

    Raises:
        BadQuery: the filter cannot be parsed.
    """
    return _Parser(text).whole()


class _Parser:
    """Reads one `$filter`, by recursive descent, into a function that tests records: `_Parser(text).whole()`."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._position = 0

    def whole(self) -> Test:
        test = self._any_of()
        if self._peek() != ("end", ""):
            raise BadQuery(f"$filter continues with {self._peek()[1]!r} where its end is expected")
        return test

    def _any_of(self) -> Test:
        tests = [self._all_of()]
        while self._accept("word", "or"):
            tests.append(self._all_of())
        return lambda record: any(test(record) for test in tests)

    def _all_of(self) -> Test:
        tests = [self._term()]
        while self._accept("word", "and"):
            tests.append(self._term())
        return lambda record: all(test(record) for test in tests)

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
            return lambda record: any(_holds(eq, record.get(name), value) for value in values)
        if operator not in _COMPARISONS:
            raise BadQuery(f"$filter: {operator!r} is not a comparison; use one of {', '.join(_COMPARISONS)}, in")
        compare, value = _COMPARISONS[operator], self._value()
        return lambda record: _holds(compare, record.get(name), value)

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


def _holds(compare: Callable[..., bool], field: object, value: object) -> bool:
    if isinstance(value, datetime) and isinstance(field, str):
        field = _time(field)
    try:
        return compare(field, value)
    except TypeError:  # null with a value, or a number with a text
        return False


def page(records: Sequence[Record], options: Mapping[str, str]) -> tuple[list[Record], int | None]:
    """Return one page of the records as a query asks for it, and the `$skip` of the next page, None after the last.

    `options` are the query's options by name, such as `$top`; `$select` is not applied.

    Raises:
        BadQuery: an option is invalid.
    """
    matches = parse_filter(options["$filter"]) if options.get("$filter") else None
    chosen = [record for record in records if matches is None or matches(record)]
    for name, is_descending in reversed(_orders(options.get("$orderby", ""))):
        chosen.sort(key=partial(_sort_key, name), reverse=is_descending)
    skip = _whole(options, "$skip", 0, _MAX_SKIP)
    top = _whole(options, "$top", _DEFAULT_PAGE, MAX_PAGE)
    after = skip + top
    return chosen[skip:after], after if top and after < len(chosen) else None


def _sort_key(name: str, record: Record) -> tuple[float, str]:
    value = record.get(name)
    return (value, "") if isinstance(value, (int, float)) else (0, str(value or ""))


def _orders(text: str) -> list[tuple[str, bool]]:
    orders = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, direction = part.partition(" ")
        if direction.strip() not in {"", "asc", "desc"} or not name.isidentifier():
            raise BadQuery(f"$orderby: {part!r} must be NAME, NAME asc or NAME desc")
        orders.append((name, direction.strip() == "desc"))
    return orders


def _whole(options: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = options.get(name, str(default))
    if not text.isdecimal() or int(text) > most:
        raise BadQuery(f"{name} is {text!r}; it must be a whole number up to {most}")
    return int(text)


def selected(record: Record, select: str) -> Record:
    """Return a copy of a record with only the fields that `select`, the text of a `$select`, names.

    With an empty `select`, the copy has all fields.
    """
    names = {name.strip() for name in select.split(",")}
    return {name: value for name, value in record.items() if not select or name in names}
