"""The table of models in Markdown, as the README shows it: generated from the cards, never written by hand."""

from app.catalogue import Catalogue
from app.errors import InvalidRequest

BEGIN, END = "<!-- models: begin (percept models --write README.md) -->", "<!-- models: end -->"


def table(catalogue: Catalogue) -> str:
    rows = ["| model | what it is | parameters | test accuracy | answers as |", "|---|---|---:|---:|---|"]
    for model in catalogue.models:
        accuracy = model.metrics.get("test_accuracy")
        rows.append(
            f"| `{model.name}` | {model.title or 'an ONNX file without a card'} "
            f"| {f'{model.parameters:,}' if model.parameters else '–'} "
            f"| {f'{accuracy:.2%}' if accuracy is not None else '–'} "
            f"| {', '.join(f'`{alias}`' for alias in model.aliases)} |"
        )
    return "\n".join(rows)


def replace_table(document: str, text: str) -> str:
    """Raises InvalidRequest if the document has not both marks."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InvalidRequest(f"the document lacks its marks {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"
