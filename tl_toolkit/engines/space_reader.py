"""Reads the YAML of search spaces, and reports every mistake with its line.

The nodes of the YAML document are read, not the values that PyYAML makes of them: nodes know their lines, and YAML 1.1
would turn ``1e-4`` into a string, ``010`` into 8 and ``no`` into false.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, NoReturn, get_type_hints

import yaml

from tl_toolkit.core.errors import UnknownNameError, UserError
from tl_toolkit.core.searches import METRICS, Parameter, Pruning, SearchSpace
from tl_toolkit.core.settings import FINE_TUNED, FROZEN, NO_BACKBONE, TrainingConfig
from tl_toolkit.engines.configuring import completed, config_from, most_epochs

_FIELDS: dict[str, type] = get_type_hints(TrainingConfig)
_SECTIONS = ("metric", "trials", "scored_folds", "pruning", "parameters", "fixed", "reference")
_OPTIONS = ("choices", "low", "high", "log", "step", "when")
_PRUNING = {"first": 1, "factor": 2}
"""Options of pruning, and the least value of each."""
_DECIDING = ("optimizer", "augmentation", "network")
"""The fields whose value forbids values of other fields."""

_TAG = "tag:yaml.org,2002:"
_FORMS = {
    str: ("a string (in quotes if need be)", re.compile("(?!)")),
    bool: ("true or false", re.compile("true|false")),
    int: ("a whole number", re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")),
    float: ("a finite number", re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")),
}


class SpaceReader:
    """Reads the nodes of one file; ``name`` is what errors call it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.conditions: dict[tuple[str, str], yaml.Node] = {}

    def fail(self, where: yaml.Node | int, rule: str) -> NoReturn:
        line = where if isinstance(where, int) else where.start_mark.line + 1
        raise UserError(f"{self.name}:{line}: {rule}")

    def require(self, holds: bool, where: yaml.Node, rule: str) -> None:
        if not holds:
            self.fail(where, rule)

    def document(self, content: bytes) -> yaml.Node:
        try:
            root = yaml.compose(text := content.decode("utf-8-sig"), Loader=yaml.SafeLoader)
        except UnicodeDecodeError as problem:
            self.fail(content.count(b"\n", 0, problem.start) + 1, "the file must be UTF-8 text")
        except yaml.reader.ReaderError as problem:
            self.fail(text.count("\n", 0, problem.position) + 1, f"must not hold {chr(problem.character)!r}")
        except yaml.MarkedYAMLError as problem:
            mark = problem.problem_mark or problem.context_mark
            said = ", ".join(part for part in (problem.context, problem.problem) if part)
            self.fail(mark.line + 1 if mark else 1, f"not valid YAML: {said}")
        except RecursionError:
            self.fail(1, "not a search space: nested too deeply")
        return root or self.fail(1, f"the file is empty; it must hold {', '.join(_SECTIONS)}")

    def space(self, name: str, content: bytes) -> SearchSpace:
        root = self.document(content)
        sections = self.mapping(root, "a search space", "key", _SECTIONS)
        for required in ("metric", "trials", "parameters", "reference"):
            self.require(required in sections, root, f"{required!r} is missing")
        metric = self.scalar(sections["metric"], str, "metric")
        self.require(metric in METRICS, sections["metric"], str(UnknownNameError("metric", metric, METRICS)))
        trials = self.at_least(1, sections["trials"], "trials")
        folds = self.at_least(1, sections["scored_folds"], "scored_folds") if "scored_folds" in sections else None
        nodes = self.mapping(sections["parameters"], "parameters", "field", _FIELDS)
        self.require(bool(nodes), sections["parameters"], "parameters must name at least one field to search")
        parameters = {field: self.parameter(field, node) for field, node in nodes.items()}
        fixed = self.settings(sections["fixed"], "fixed") if "fixed" in sections else {}
        for field, node in nodes.items():
            self.require(field not in fixed, node, f"{field} must not be in both fixed and parameters")
        chosen = self.settings(sections["reference"], "reference")
        try:
            reference = completed(fixed, chosen)
        except ValueError as problem:
            self.fail(sections["reference"], f"reference: {problem}")

        order, digest = self.ordered(parameters, nodes), hashlib.sha256(content).hexdigest()
        space = SearchSpace(
            name=name,
            parameters=order,
            fixed=fixed,
            reference=reference,
            metric=metric,
            trials=trials,
            sha256=digest,
            scored_folds=folds,
            pruning=self.pruning(sections["pruning"]) if "pruning" in sections else None,
        )
        self.check_together(space, nodes)
        if space.pruning:
            first, most = space.pruning.first, most_epochs(space)
            rule = f"first < {most}, the most epochs that the space proposes, must hold, got first={first}"
            self.require(first < most, sections["pruning"], rule)
        return space

    def at_least(self, least: int, node: yaml.Node, what: str) -> int:
        value: int = self.scalar(node, int, what)
        self.require(value >= least, node, f"{what} >= {least} must hold, got {what}={value}")
        return value

    def pruning(self, node: yaml.Node) -> Pruning:
        options = self.mapping(node, "pruning", "option", _PRUNING)
        self.require("first" in options, node, "'first' is missing: the epochs of the first look")
        found = {name: self.at_least(least, options[name], name) for name, least in _PRUNING.items() if name in options}
        return Pruning(**found)

    def mapping(self, node: yaml.Node, what: str, kind: str, known: Iterable[str]) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            self.fail(node, f"{what} must be a mapping (name: value), got {_shown(node)}")
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else _shown(key)
            self.require(name in known, key, str(UnknownNameError(kind, name, known)))
            self.require(name not in found, key, f"{name} must be given once")
            found[name] = value
        return found

    def scalar(self, node: yaml.Node, kind: type, what: str) -> Any:
        if kind is str and isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "str":
            return node.value
        expected, form = _FORMS[kind]
        plain = isinstance(node, yaml.ScalarNode) and node.style is None and node.tag.startswith(_TAG)
        if plain and form.fullmatch(node.value):
            value = node.value == "true" if kind is bool else kind(node.value)
            if math.isfinite(value):  # 1e999 is not
                return value
        self.fail(node, f"{what} must be {expected}, got {_shown(node)}")

    def values(self, field: str, node: yaml.Node, what: str) -> tuple[Any, ...]:
        """A non-empty list of different values of a field."""
        if not isinstance(node, yaml.SequenceNode):
            self.fail(node, f"{what} must be a list, got {_shown(node)}")
        found: list[Any] = []
        self.require(bool(node.value), node, f"{what} must not be empty")
        for item in node.value:
            value = self.scalar(item, _FIELDS[field], what)
            self.require(value not in found, item, f"{what} must differ from one another, got {value!r} twice")
            found.append(value)
        return tuple(found)

    def accepted(self, node: yaml.Node, field: str, value: Any) -> None:
        """Fail where the value is refused in the company of fields that forbid nothing: SGD and some augmentation of a
        network from scratch."""
        on_backbone = value != NO_BACKBONE if field == "backbone" else value in (FROZEN, FINE_TUNED)
        company = {"network": FINE_TUNED} if on_backbone else {"network": "some", "backbone": NO_BACKBONE}
        try:
            TrainingConfig(**{"augmentation": "some", **company, field: value})
        except ValueError as problem:
            self.fail(node, str(problem))

    def settings(self, node: yaml.Node, what: str) -> dict[str, Any]:
        nodes = self.mapping(node, what, "field", _FIELDS)
        found = {field: self.scalar(item, _FIELDS[field], field) for field, item in nodes.items()}
        for field, value in found.items():
            self.accepted(nodes[field], field, value)
        return found

    def parameter(self, name: str, node: yaml.Node) -> Parameter:
        options = self.mapping(node, name, "option", _OPTIONS)
        when: dict[str, tuple[Any, ...]] = {}
        if "when" in options:
            conditions = self.mapping(options["when"], f"when of {name}", "field", _FIELDS)
            self.conditions |= {(name, field): item for field, item in conditions.items()}
            when = {field: self.values(field, item, f"when {field} of {name}") for field, item in conditions.items()}
        if "choices" not in options:
            return Parameter(name=name, when=when, **self.bounds(name, node, options))
        clash = ", ".join(option for option in options if option not in ("choices", "when"))
        self.require(not clash, node, f"{name} must have either choices or a range, got choices and {clash}")
        choices = self.values(name, options["choices"], f"choices of {name}")
        for item, value in zip(options["choices"].value, choices, strict=True):
            self.accepted(item, name, value)
        return Parameter(name=name, kind="categorical", choices=choices, when=when)

    def bounds(self, name: str, node: yaml.Node, options: dict[str, yaml.Node]) -> dict[str, Any]:
        kind = _FIELDS[name]
        given = ", ".join(options) or "nothing"
        self.require(kind in (int, float), node, f"{name} must have choices, for it is no number, got {given}")
        self.require({"low", "high"} <= options.keys(), node, f"{name} must have choices, or low and high, got {given}")
        low, high = (self.scalar(options[bound], kind, f"{bound} of {name}") for bound in ("low", "high"))
        self.require(low <= high, options["low"], f"low <= high must hold, got low={low}, high={high} for {name}")
        log = "log" in options and self.scalar(options["log"], bool, f"log of {name}")
        self.require(low > 0 or not log, options["low"], f"low > 0 must hold with log, got low={low} for {name}")
        step = self.scalar(options["step"], kind, f"step of {name}") if "step" in options else None
        if step is not None:
            self.require(step > 0, options["step"], f"step > 0 must hold, got step={step} for {name}")
            self.require(not log, options["step"], f"{name} must not have both log and step")
            # Fractions of the decimals, because 0.3 % 0.1 is not 0 in binary.
            rest = (Fraction(str(high)) - Fraction(str(low))) % Fraction(str(step))
            self.require(rest == 0, options["step"], f"step={step} must lead from low={low} to high={high} for {name}")
        for bound, value in (("low", low), ("high", high)):
            self.accepted(options[bound], name, value)
        return {"kind": kind.__name__, "low": low, "high": high, "log": log, "step": step}

    def ordered(self, parameters: dict[str, Parameter], nodes: dict[str, yaml.Node]) -> tuple[Parameter, ...]:
        """The parameters as in the file, but each after those it depends on; checks the conditions on the way."""
        placed: dict[str, Parameter] = {}

        def place(name: str, trail: tuple[str, ...]) -> None:
            if name in trail:
                cycle = " -> ".join((*trail[trail.index(name) :], name))
                self.fail(nodes[name], f"conditions must not go round in a circle, got {cycle}")
            for field, allowed in parameters[name].when.items():
                choices = parameters[field].choices if field in parameters else ()
                node = self.conditions[name, field]
                self.require(bool(choices), node, f"{name} must depend on parameters with choices, got {field}")
                never = [value for value in allowed if value not in choices]
                self.require(not never, node, f"{name} depends on {field} in {never}, never chosen from {choices}")
                place(field, (*trail, name))
            placed.setdefault(name, parameters[name])

        for name in parameters:
            place(name, ())
        return tuple(placed.values())

    def check_together(self, space: SearchSpace, nodes: dict[str, yaml.Node]) -> None:
        """Fail where a parameter can never exist, or can take a value that the settings beside it forbid."""
        for parameter in space.parameters:
            needed = {parameter.name, *_DECIDING}
            for other in reversed(space.parameters):
                if other.name in needed:
                    needed |= other.when.keys()
            cases: list[dict[str, Any]] = [{}]
            for other in space.parameters:
                if other.name in needed:
                    cases = [extended for case in cases for extended in _extended(case, other)]
            name, node = parameter.name, nodes[parameter.name]
            self.require(any(name in case for case in cases), node, f"{name} can never exist, its conditions clash")
            for case in cases:
                try:
                    config_from(space, case)
                except ValueError as problem:
                    self.fail(node, f"{problem}; limit {name} with 'when', or change what is fixed")


def _extended(case: dict[str, Any], parameter: Parameter) -> list[dict[str, Any]]:
    """The case with each choice or bound of the parameter; the case alone where the parameter does not exist."""
    if not parameter.applies(case):
        return [case]
    return [{**case, parameter.name: value} for value in parameter.choices or (parameter.low, parameter.high)]


def _shown(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return repr(node.value) if node.style or node.value else "nothing"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
