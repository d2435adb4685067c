"""Renders the OpenAPI document as an HTML page that needs no file from another site."""

import html
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from string import Template
from typing import Any

from shared.http_api.operations import PROBLEM, Api

Json = Mapping[str, Any]


def page(api: Api, document: Json) -> str:
    """Return the HTML text of a page that shows an API's OpenAPI document, with an example call of each operation."""
    examples = {operation.id: _curl(api.shell_variable, operation.try_it) for operation in api.operations}
    operations = [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = document["components"]["schemas"]
    template = Template(files(__package__).joinpath("docs_page.html").read_text("utf-8"))
    return template.substitute(
        title=_text(api.title),
        version=_text(document["info"]["version"]),
        about=_text(document["info"]["description"]),
        contents="".join(_link(method, operation) for method, _, operation in operations),
        appendix_link='<li><a href="#page">In a page</a></li>' if api.appendix else "",
        appendix=api.appendix,
        names="".join(f'<li><a href="#{name}">{name}</a></li>' for name in schemas),
        operations="".join(
            _operation(method, path, operation, examples[operation["operationId"]], schemas)
            for method, path, operation in operations
        ),
        schemas="".join(_model(name, schema) for name, schema in schemas.items()),
        headers="".join(
            f"<dt><code>{name}</code></dt><dd>{_text(header['description'])}</dd>"
            for name, header in document["components"]["headers"].items()
        ),
    )


def _link(method: str, operation: Json) -> str:
    text = f'<b class="{method}">{method}</b> {_text(operation["summary"])}'
    return f'<li><a href="#{operation["operationId"]}">{text}</a></li>'


def _operation(method: str, path: str, operation: Json, example_call: str, schemas: Json) -> str:
    answers = operation["responses"]
    return (
        f'<section id="{operation["operationId"]}"><h2>{_text(operation["summary"])}</h2>'
        f'<p class="path"><b class="{method}">{method}</b> <code>{_text(path)}</code></p>'
        f"<p>{_text(operation['description'])}</p>{_parameters(operation)}{_body(operation)}"
        f"<h3>Try it</h3><pre><code>{html.escape(example_call)}</code></pre>"
        f'<h3>Answers</h3><dl class="answers">{"".join(map(_answer, answers.items()))}</dl>'
        f"{_example(answers.get('200', {}), schemas)}</section>"
    )


def _parameters(operation: Json) -> str:
    rows = "".join(
        f"<dt><code>{parameter['name']}</code> "
        f"<small>{parameter['in']}{', required' if parameter['required'] else ''}</small></dt>"
        f"<dd>{_text(parameter['description'])}{_choices(parameter['schema'])}</dd>"
        for parameter in operation["parameters"]
    )
    return f"<h3>Parameters</h3><dl>{rows}</dl>" if rows else ""


def _choices(schema: Json) -> str:
    """Return a sentence in HTML with a parameter's allowed values and its default; "" if any value is allowed.

    `schema` is the parameter's JSON schema.
    """
    if "enum" not in schema:
        return ""
    values = [f"<code>{_text(value)}</code>" for value in schema["enum"]]
    default = f"; <code>{_text(schema['default'])}</code> if not given" if "default" in schema else ""
    return f" {' or '.join(values)}{default}."


def _body(operation: Json) -> str:
    if "requestBody" not in operation:
        return ""
    content = operation["requestBody"]["content"]
    kinds = " or ".join(f"<code>{kind}</code>" for kind in content)
    return f"<h3>Body</h3><p>{_type(next(iter(content.values()))['schema'])} as {kinds}</p>"


def _curl(shell_variable: str, arguments: str) -> str:
    """Return a `curl` command for an operation's example call, with the options after the URL on a line of their own.

    `shell_variable` is the name of the variable that holds the service's address. `arguments` are the path and query,
    then options for curl, as in `Operation.try_it`.
    """
    path, *options = arguments.split(" ", 1)
    return " \\\n  ".join([f'curl "${shell_variable}{path}"', *options])


def _answer(item: tuple[str, Json]) -> str:
    status, answer = item
    kinds = answer.get("content", {})
    named = [
        f"{_type(content['schema']) if '$ref' in content['schema'] else 'a picture'} as <code>{kind}</code>"
        for kind, content in kinds.items()
        if set(kinds) != {PROBLEM}  # the page's introduction names the form of errors
    ]
    return (
        f'<dt><code class="s{status[0]}">{status}</code></dt>'
        f"<dd>{_text(answer['description'])} <small>{' or '.join(named)}</small></dd>"
    )


def _example(answer: Json, schemas: Json) -> str:
    """Return a `<details>` element in HTML with an example of an answer's body; "" if the answer has no body.

    `answer` is one answer of an operation in the OpenAPI document; the example is the first example of its model.
    `schemas` has the document's JSON schemas by model name.
    """
    for content in answer.get("content", {}).values():
        example = schemas[content["schema"]["$ref"].rsplit("/", 1)[1]]["examples"][0]
        text = html.escape(json.dumps(example, indent=2, ensure_ascii=False))
        return f"<details><summary>An answer</summary><pre><code>{text}</code></pre></details>"
    return ""


def _model(name: str, schema: Json) -> str:
    about = f'<section id="{name}"><h3>{name}</h3><p>{_text(schema.get("description", ""))}</p>'
    if "anyOf" in schema:
        return f"{about}<p>{_type(schema)}</p></section>"
    if "properties" not in schema:
        values = ", ".join(f"<code>{_text(value)}</code>" for value in schema.get("enum", []))
        return f"{about}<p>{values}</p></section>"
    rows = "".join(
        f"<dt><code>{key}</code> <small>{_type(value)}{_default(value)}</small></dt>"
        f"<dd>{_text(value.get('description', ''))}</dd>"
        for key, value in schema["properties"].items()
    )
    return f"{about}<dl>{rows}</dl></section>"


def _default(schema: Json) -> str:
    return f", {_text(json.dumps(schema['default']))} if not given" if "default" in schema else ""


def _type(schema: Json) -> str:
    """Return in words the type that a JSON schema describes, as HTML with links to the models."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"{_type(schema['additionalProperties'])} by key"
    return _text(f"{schema.get('type', '')} {schema.get('format', '')}".strip())


def _text(words: str) -> str:
    """Return `words` escaped for HTML, with each part in backticks as a `<code>` element."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", html.escape(words))
