"""The table of models in Markdown, as the README shows it: generated from the cards, never written by hand."""

from app.catalogue import Catalogue, ModelSummary
from app.errors import InvalidRequest

BEGIN, END = "<!-- models: begin (percept models --write README.md) -->", "<!-- models: end -->"


def table(catalogue: Catalogue) -> str:
    rows = ["| model | what it is | parameters | its measure | answers as |", "|---|---|---:|---:|---|"]
    for model in catalogue.models:
        rows.append(
            f"| `{model.name}` | {model.title or 'an ONNX file without a card'} "
            f"| {f'{model.parameters:,}' if model.parameters else '–'} "
            f"| {measure(model)} "
            f"| {', '.join(answers_as(model, catalogue))} |"
        )
    return "\n".join(rows)


def answers_as(model: ModelSummary, catalogue: Catalogue) -> list[str]:
    photographs = [alias for alias, name in catalogue.photographs.items() if name == model.name]
    return [f"`{alias}`" for alias in model.aliases] + [f"`{alias}`, photographs" for alias in photographs]


def measure(model: ModelSummary) -> str:
    """The figure that its floor is of; of several the first."""
    name = next(iter(model.floor), None)
    if name is None:
        return "–"
    value = model.metrics[name]
    return f"{name.replace('_', ' ')} {f'{value:.2%}' if 'accuracy' in name else f'{value:g}'}"


def replace_table(document: str, text: str) -> str:
    """Raises InvalidRequest if the document has not both marks."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InvalidRequest(f"the document lacks its marks {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"
