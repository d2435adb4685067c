"""Reads a large JSON document one item after the other; at any time, only about one item is in memory.

Only the standard library's decoder reads the JSON. A streaming parser in C was tried before: it ended the process by a
segmentation fault at a number of 5,000 digits, and took all memory at 100,000 nested arrays.
"""

import codecs
import json
from collections.abc import Iterator
from typing import IO, Any

_CHUNK_BYTES = 1_000_000
_MAX_ITEM_CHARACTERS = 64_000_000
_BLANKS = " \t\n\r"
_IN_A_NUMBER = "0123456789.eE+-"


class NotJson(ValueError):
    """Raised if a document is not JSON, or an item of it is too large or nested too deeply; the message says why."""


def items(file: IO[bytes]) -> Iterator[Any]:
    """Yield the items of a JSON document one by one; the document begins at the current position of `file`.

    The items of an array are its elements. The items of an object whose member `value` is an array, as in an OData
    page, are the elements of `value`. Any other document is itself the only item. Raises NotJson at a fault, after the
    items before it, and OSError if the file cannot be read.
    """
    text = _Text(file)
    match text.peek():
        case "[":
            yield from _elements(text)
        case "{":
            yield from _page_or_object(text)
        case _:
            yield text.value()
    if text.peek():
        raise NotJson("something follows after its end")


def _elements(text: "_Text") -> Iterator[Any]:
    """Yield the elements of the array that begins at the next character. Raises NotJson at a fault."""
    text.skip("[")
    if text.peek() == "]":
        text.skip("]")
        return
    while True:
        yield text.value()
        if text.peek() == "]":
            text.skip("]")
            return
        text.skip(",")


def _page_or_object(text: "_Text") -> Iterator[Any]:
    """Yield the elements of the member `value` of the object that begins at the next character.

    If the object has no member `value` that is an array, yield the object itself. Raises NotJson at a fault.
    """
    members: dict[str, Any] = {}
    is_page = False
    text.skip("{")
    while text.peek() != "}":
        if members or is_page:
            text.skip(",")
        name = text.value()
        if not isinstance(name, str):
            raise NotJson("the name of a member is no text")
        text.skip(":")
        if name == "value" and text.peek() == "[" and not is_page:
            is_page = True
            yield from _elements(text)
        else:
            members[name] = text.value()
    text.skip("}")
    if not is_page:
        yield members


class _Text:
    """The text of a file, read in chunks from the beginning to the end. Text that was passed is not kept in memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._scan = json.JSONDecoder().raw_decode
        self._text = ""
        self._at = 0
        self._is_ended = False

    def peek(self) -> str:
        """Skip blanks, and return the next character without skipping it; "" at the end of the file."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _BLANKS:
                    return self._text[self._at]
                self._at += 1
            if self._is_ended:
                return ""
            self._read_more()

    def skip(self, character: str) -> None:
        """Skip blanks and the character `character`. Raises NotJson if another character comes next."""
        if (found := self.peek()) != character:
            raise NotJson(f"expected {character!r}" + (f", not {found!r}" if found else ", not its end"))
        self._at += 1

    def value(self) -> Any:
        """Decode the next JSON value, skip it, and return it. Raises NotJson if no JSON value comes next."""
        self.peek()
        while True:
            try:
                found, end = self._scan(self._text, self._at)
            except RecursionError:
                raise NotJson("nested too deeply") from None
            except ValueError as error:
                if self._is_ended or len(self._text) - self._at > _MAX_ITEM_CHARACTERS:
                    raise NotJson(str(error)) from None
            else:
                # A number whose rest is in the next chunk reads as a shorter number: 1 of `1.5` or `1e5`.
                if self._is_ended or (end < len(self._text) and self._text[end] not in _IN_A_NUMBER):
                    self._at = end
                    return found
            self._read_more()

    def _read_more(self) -> None:
        """Read the next chunk of the file; if there is none, note that the file has ended.

        Text before the current position is dropped. Raises NotJson if the chunk is not UTF-8.
        """
        kept = self._text[self._at :]
        # At least as long as the kept text: so an item of many chunks is scanned from its beginning only a few times.
        chunk = self._file.read(max(_CHUNK_BYTES, len(kept)))
        try:
            self._text, self._at = kept + self._decoder.decode(chunk, final=not chunk), 0
        except UnicodeDecodeError as error:
            raise NotJson(f"not UTF-8: {error.reason}") from None
        self._is_ended = not chunk
