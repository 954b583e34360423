"""A caller's formula: text → steps, by Python's grammar and an allow-list. It is never evaluated as Python, and reaches
no name but its inputs'. Knows no HTTP.
"""

import ast
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from keyword import iskeyword
from typing import Any

from app.errors import InvalidRequest
from app.lab import operations as of
from app.lab.operations import STOP
from app.lab.tape import INPUT, NUMBER, Floats, Operation, Result, apply, constant

MOST_CHARACTERS, MOST_STEPS, MOST_DEPTH = 2_000, 200, 100
# Each step's numbers, summed over all steps: a look at the time that a formula takes.
MOST_NUMBERS = 50_000
QUOTED = 40

INPUT_NAME = re.compile("[A-Za-z][A-Za-z0-9]{0,31}", re.ASCII)
STRANGE = re.compile(r"[^A-Za-z0-9+\-*/@()<>=!,. \t\r\n]")
# Of 2x, 2sin(x), 1j and 0x1f, which the grammar would read as other things than were meant, or warn of.
GLUED = re.compile(r"(?<![A-Za-z0-9.])(?>[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?+[A-Za-z]")

BINARY: dict[type[ast.operator], Operation] = {
    ast.Add: of.ADD,
    ast.Sub: of.SUBTRACT,
    ast.Mult: of.MULTIPLY,
    ast.Div: of.DIVIDE,
    ast.Pow: of.POWER,
    ast.MatMult: of.MATMUL,
}
COMPARED: dict[type[ast.cmpop], Operation] = {
    ast.Lt: of.COMPARISONS["<"],
    ast.LtE: of.COMPARISONS["<="],
    ast.Gt: of.COMPARISONS[">"],
    ast.GtE: of.COMPARISONS[">="],
    ast.Eq: of.COMPARISONS["=="],
    ast.NotEq: of.COMPARISONS["!="],
}
REDUCTION = ("axis", "keepdims")


@dataclass(frozen=True)
class Function:
    """By the number of its arguments, and the options that it takes with one."""

    by_arguments: Mapping[int, Operation]
    options: tuple[str, ...] = ()


def _elementwise(operation: Operation) -> Function:
    return Function({1: operation})


FUNCTIONS: dict[str, Function] = {
    "exp": _elementwise(of.EXP),
    "log": _elementwise(of.LOG),
    "sin": _elementwise(of.SIN),
    "cos": _elementwise(of.COS),
    "tanh": _elementwise(of.TANH),
    "sigmoid": _elementwise(of.SIGMOID),
    "relu": _elementwise(of.RELU),
    "softplus": _elementwise(of.SOFTPLUS),
    "softmax": Function({1: of.SOFTMAX}, ("axis",)),
    "sqrt": _elementwise(of.SQRT),
    "abs": _elementwise(of.ABS),
    "max": Function({1: of.LARGEST, 2: of.LARGER}, REDUCTION),
    "min": Function({1: of.SMALLEST, 2: of.SMALLER}, REDUCTION),
    "sum": Function({1: of.SUM}, REDUCTION),
    "mean": Function({1: of.MEAN}, REDUCTION),
    "norm": Function({1: of.NORM}, REDUCTION),
    "dot": Function({2: of.DOT}),
    "transpose": _elementwise(of.TRANSPOSE),
    "where": Function({3: of.WHERE}),
    "stop": _elementwise(of.STOP),
}
CONSTANTS = {"pi": math.pi}
GRAMMAR = (
    "allowed are numbers, inputs, pi, + - * / ** @, < <= > >= == !=, parentheses and the functions "
    f"{', '.join(FUNCTIONS)}"
)


@dataclass(frozen=True)
class Step:
    """`arguments` are places of earlier steps. `text` is the part of the formula that it stands for."""

    operation: Operation
    arguments: tuple[int, ...]
    text: str
    options: Mapping[str, Any] = field(default_factory=dict)
    number: float = 0.0  # of a step that is one


@dataclass(frozen=True)
class Formula:
    """Steps in topological order; the last one is the result. An input is one step, however often it is named."""

    text: str
    steps: tuple[Step, ...]


def read_formula(text: str, inputs: Sequence[str]) -> Formula:
    """Raises InvalidRequest that names the place, what stands there and what is allowed."""
    _refuse_strange(text)
    text = re.sub(r"\s", " ", text).strip()
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise _refused(_not_grammar(text, error)) from None
    reader = _Reader(text, inputs)
    reader.read(tree.body, 0)
    return Formula(text, tuple(reader.steps))


def require_input_name(name: str) -> None:
    """Raises InvalidRequest."""
    if not INPUT_NAME.fullmatch(name) or iskeyword(name):
        shown = name[:QUOTED]
        raise InvalidRequest(
            f"input {shown!r} cannot be named in an expression; allowed are 1 to 32 letters and digits, a letter "
            "first, and none of Python's keywords"
        )


def _refuse_strange(text: str) -> None:
    if not text.strip():
        raise _refused("it is empty")
    if len(text) > MOST_CHARACTERS:
        raise _refused(f"it has {len(text):,} characters; at most {MOST_CHARACTERS:,} are allowed")
    if strange := STRANGE.search(text):
        raise _refused(f"{_place(strange.start())}: {strange[0]!r} is no part of a formula; {GRAMMAR}")
    if glued := GLUED.search(text):
        number, letter = glued[0][:-1], glued[0][-1]
        raise _refused(
            f"{_place(glued.start())}: {number[:QUOTED]} and {letter} have nothing between them; write a product "
            f"with *, as in 2 * x"
        )


def _place(offset: int) -> str:
    return f"at character {offset + 1}"


def _not_grammar(text: str, error: Exception) -> str:
    if not isinstance(error, SyntaxError):
        return "it is nested too deeply, or has a number of too many digits"
    reason = (error.msg or "invalid syntax").split(". ")[0].split(" (<")[0]
    place = min(error.offset or len(text), len(text))  # 0 if the text just ends
    return f"{_place(place - 1)}: {reason}; {GRAMMAR}"


def _refused(reason: str) -> InvalidRequest:
    return InvalidRequest(f"expression: {reason}")


class _Reader:
    def __init__(self, text: str, inputs: Sequence[str]) -> None:
        self.text, self.inputs = text, inputs
        self.steps: list[Step] = []
        self._places: dict[str, int] = {}  # of the inputs that were named

    def read(self, node: ast.expr, depth: int) -> int:
        """The place of its step."""
        if depth > MOST_DEPTH:
            raise _refused(f"{self._at(node)}: it is nested more than {MOST_DEPTH} deep")
        match node:
            case ast.Constant(value=bool() | complex()):
                pass
            case ast.Constant(value=int() | float() as value):
                return self._number(node, value)
            case ast.Name(id=name):
                return self._named(node, name)
            case ast.UnaryOp(op=ast.UAdd()):
                return self.read(node.operand, depth + 1)
            case ast.UnaryOp(op=ast.USub()):
                return self._step(node, of.NEGATIVE, [node.operand], depth)
            case ast.BinOp(op=operator) if type(operator) in BINARY:
                return self._step(node, BINARY[type(operator)], [node.left, node.right], depth)
            case ast.Compare(ops=[sign], comparators=[right]) if type(sign) in COMPARED:
                return self._step(node, COMPARED[type(sign)], [node.left, right], depth)
            case ast.Compare(ops=[_, _, *_]):
                raise _refused(f"{self._at(node)}: comparisons are not chained; write (a < b) * (b < c)")
            case ast.Call(func=ast.Name(id=name)):
                return self._call(node, name, depth)
        raise _refused(f"{self._at(node)}: {self._quoted(node)} is not allowed; {GRAMMAR}")

    def _number(self, node: ast.expr, value: float) -> int:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise _refused(f"{self._at(node)}: {self._quoted(node)} is more than float64 can hold")
        return self._add(Step(NUMBER, (), self._source(node), number=number))

    def _named(self, node: ast.expr, name: str) -> int:
        if name in self.inputs:
            if name not in self._places:
                self._places[name] = self._add(Step(INPUT, (), name))
            return self._places[name]
        if name in CONSTANTS:
            return self._add(Step(NUMBER, (), name, number=CONSTANTS[name]))
        if name in FUNCTIONS:
            raise _refused(f"{self._at(node)}: {name} is a function; write {name}(…)")
        there = ", ".join(self.inputs) or "none"
        raise _refused(f"{self._at(node)}: there is no input {name[:QUOTED]!r}; there are: {there}")

    def _call(self, node: ast.Call, name: str, depth: int) -> int:
        function = FUNCTIONS.get(name)
        if function is None:
            raise _refused(
                f"{self._at(node)}: there is no function {name[:QUOTED]!r}; there are: {', '.join(FUNCTIONS)}"
            )
        operation = function.by_arguments.get(len(node.args))
        if operation is None:
            wanted = " or ".join(map(str, function.by_arguments))
            raise _refused(f"{self._at(node)}: {name} has {len(node.args)} arguments; allowed are {wanted}")
        allowed = function.options if len(node.args) == 1 else ()
        options = {}
        for keyword in node.keywords:
            if keyword.arg in options:
                raise _refused(f"{self._at(node)}: {name} has {keyword.arg} twice; allowed is once")
            if keyword.arg not in allowed:
                given = f"{name} takes no {keyword.arg or '**'} here"
                raise _refused(f"{self._at(node)}: {given}; allowed are: {', '.join(allowed) or 'none'}")
            options[keyword.arg] = self._option(keyword.arg, keyword.value)
        return self._step(node, operation, node.args, depth, options)

    def _option(self, name: str, node: ast.expr) -> int | bool:
        try:
            value = ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            value = None
        wanted = bool if name == "keepdims" else int
        if type(value) is not wanted or not -of.MOST_AXES <= value < of.MOST_AXES:
            allowed = "True or False" if wanted is bool else "0, 1, -1 or -2"
            raise _refused(f"{self._at(node)}: {name} is {self._quoted(node)}; allowed is {allowed}")
        return value

    def _step(
        self,
        node: ast.expr,
        operation: Operation,
        arguments: Sequence[ast.expr],
        depth: int,
        options: Mapping[str, Any] | None = None,
    ) -> int:
        places = tuple(self.read(argument, depth + 1) for argument in arguments)
        return self._add(Step(operation, places, self._source(node), options or {}))

    def _add(self, step: Step) -> int:
        if len(self.steps) >= MOST_STEPS:
            raise _refused(f"it has more than {MOST_STEPS} steps")
        self.steps.append(step)
        return len(self.steps) - 1

    def _source(self, node: ast.expr) -> str:
        return self.text[node.col_offset : node.end_col_offset]  # bytes, but all of it is ASCII

    def _quoted(self, node: ast.expr) -> str:
        source = self._source(node)
        return repr(source if len(source) <= QUOTED else f"{source[:QUOTED]}…")

    def _at(self, node: ast.expr) -> str:
        return _place(node.col_offset)


def run(formula: Formula, inputs: Mapping[str, Result]) -> list[Result]:
    """The result of each step. Raises InvalidRequest for shapes that do not fit, and beyond the limits."""
    results: list[Result] = []
    numbers = 0
    for step in formula.steps:
        arguments = [results[place] for place in step.arguments]
        results.append(_compute(step, arguments, inputs))
        numbers += results[-1].value.size
        if numbers > MOST_NUMBERS:
            raise _refused(f"its steps have more than {MOST_NUMBERS:,} numbers; use fewer steps or smaller inputs")
    return results


def _compute(step: Step, arguments: list[Result], inputs: Mapping[str, Result]) -> Result:
    if step.operation is INPUT:
        return inputs[step.text]
    if step.operation is NUMBER:
        return constant(step.number)
    if reason := step.operation.refuse(*[argument.value for argument in arguments], **step.options):
        raise _refused(f"{_shortened(step.text)}: {reason}")
    return apply(step.operation, *arguments, **step.options)


def _shortened(text: str) -> str:
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}…"


def moving_with(formula: Formula, name: str) -> list[int]:
    """The steps whose values move with an input, itself first; what is stopped stays where it is."""
    moving: dict[int, None] = {}
    for place, step in enumerate(formula.steps):
        is_it = step.operation is INPUT and step.text == name
        if is_it or (step.operation is not STOP and not moving.keys().isdisjoint(step.arguments)):
            moving[place] = None
    return list(moving)


def moved(formula: Formula, values: Sequence[Floats], moving: Sequence[int], value: Floats) -> Floats:
    """The result when the first of the moving steps, an input, has another value in the same shape. `values` are those
    of all steps before."""
    found = list(values)
    for place in moving:
        step = formula.steps[place]
        if step.arguments:
            value = step.operation.forward(*[found[each] for each in step.arguments], **step.options)
        found[place] = value
    return found[-1]
