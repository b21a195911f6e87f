"""A rule of the house as a test: what a docstring has to say."""

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, get_origin

import jaxnst


PACKAGE = Path(jaxnst.__file__).parent
# A summary that says what is returned: "Return ...", "Write ..., and return its path."
RETURNING = re.compile(r".*\b(return|yield)\b", re.IGNORECASE)


def all_modules():
    """Yield every module of the library."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("jaxnst", *path.relative_to(PACKAGE).with_suffix("").parts)
        yield importlib.import_module(".".join(parts).removesuffix(".__init__"))


def public_members():
    """Yield name and value of what users call, and of its methods.

    That is what `jaxnst` and its packages hand on, and what the flat modules define.
    Inside the house one line is enough (`tests/test_api.py` asks for it); more is said
    where it says more than names and types do.
    """
    homes = [jaxnst]
    for module in all_modules():
        name = module.__name__.removeprefix("jaxnst.")
        homes += [module] if "." not in name and name[0] != "_" else []
    found = {}
    for home in homes:
        is_module = not hasattr(home, "__path__")
        names = home.__all__ if home is jaxnst else vars(home)
        for value in [getattr(home, name) for name in names if name[0] != "_"]:
            origin = getattr(value, "__module__", "")
            is_ours = origin == home.__name__ if is_module else origin[:6] == "jaxnst"
            if is_ours and hasattr(value, "__qualname__"):
                found[f"{origin}.{value.__qualname__}"] = value
    for name, value in found.items():
        if inspect.isfunction(inspect.unwrap(value)):
            yield name, value
        elif inspect.isclass(value):
            yield name, value
            for method, function in vars(value).items():
                if inspect.isfunction(function) and not method.startswith("_"):
                    yield f"{name}.{method}", function


def raises_by_itself(function):
    """Whether the body, less the functions in it, has a `raise X(...)`."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    waiting = list(ast.iter_child_nodes(tree.body[0]))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            return True
        waiting.extend(ast.iter_child_nodes(node))
    return False


def section(docstring, title):
    """Return the text of a section, such as "Args"."""
    found = re.search(rf"^{title}:\n((?:\n| +.*\n?)+)", docstring, re.MULTILINE)
    return found[1] if found else ""


def faults_of_function(function):
    docstring = inspect.getdoc(function)
    if not docstring:
        return ["no docstring"]
    faults = []
    signature = inspect.signature(function)
    names = [
        name
        for name in signature.parameters
        if name not in ("self", "cls") and not name.startswith("_")
    ]
    arguments = section(docstring, "Args")
    if len(names) > 1 or arguments:
        faults += [
            f"no line for `{name}` in Args"
            for name in names
            if not re.search(rf"^ +{name}: \S", arguments, re.MULTILINE)
        ]
    # Iterator[None]: a context manager that gives nothing.
    returns_something = signature.return_annotation not in (None, Iterator[None])
    if (
        returns_something
        and not RETURNING.match(docstring)
        and not section(docstring, "Returns")
    ):
        faults.append("no Returns, and the first line does not say what it returns")
    if raises_by_itself(function) and not section(docstring, "Raises"):
        faults.append("no Raises")
    return faults


def faults_of_class(cls):
    docstring = cls.__doc__
    if not docstring or docstring.startswith(f"{cls.__name__}("):
        return ["no docstring"]  # or the one that dataclasses make
    if hasattr(cls, "_fields"):
        names = list(cls._fields)
    else:
        names = [
            name
            for name, annotation in vars(cls).get("__annotations__", {}).items()
            if not name.startswith("_") and get_origin(annotation) is not ClassVar
        ]
    if dataclasses.is_dataclass(cls):  # a setting is documented by its help
        declared = {each.name for each in dataclasses.fields(cls) if each.metadata}
        names = [name for name in names if name not in declared]
    attributes = section(inspect.cleandoc(docstring), "Attributes")
    return [
        f"no line for `{name}` in Attributes"
        for name in names
        if len(names) > 1 and not re.search(rf"^ +{name}: \S", attributes, re.MULTILINE)
    ]


def test_docstrings_say_what_comes_in_and_what_comes_out():
    faults = {}
    for name, value in public_members():
        check_fn = faults_of_class if inspect.isclass(value) else faults_of_function
        if found := check_fn(value):
            faults[name] = found
    assert not faults


def test_arguments_are_noun_phrases():
    """No "likewise", and no argument that begins with a preposition or a question."""
    vague = re.compile(
        r"\blikewise\b|^ +\w+: (of|as|what|how|why|which|where|whose|by) .*",
        re.IGNORECASE | re.MULTILINE,
    )
    for module in all_modules():
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if not isinstance(
                node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
            ):
                continue
            found = vague.search(ast.get_docstring(node, clean=False) or "")
            assert not found, f"{module.__name__}: {found and found[0]}"
