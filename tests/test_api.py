"""House style as a test: names, docstrings, annotations, sizes, layers of modules."""

import ast
import graphlib
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import jaxnst


PACKAGE = Path(jaxnst.__file__).parent
MODULES = sorted(
    ".".join(("jaxnst", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    )
    for path in PACKAGE.rglob("*.py")
    if path.name != "__main__.py"
)
# From the bottom of the house to the top, a package or a module a storey: it imports
# only from those before it.
STOREYS = (
    {"_types", "_checks"},
    {"_memory"},
    {"images", "config"},
    {"networks", "coloring", "finishing"},
    {"pretrained", "losses"},
    {"objective", "metrics"},
    {"optimize"},
    {"transfer"},
    {"sweeps"},
    {"videos"},
    {"insight"},
    {"app"},
    {"cli"},
)


def public_functions():
    """Every function and method that a public name leads to."""
    for name in MODULES:
        module = importlib.import_module(name)
        for attribute, value in vars(module).items():
            if attribute.startswith("_") or getattr(value, "__module__", "") != name:
                continue
            if inspect.isfunction(value):
                yield f"{name}.{attribute}", value
            elif inspect.isclass(value):
                for method, function in vars(value).items():
                    if inspect.isfunction(function) and not method.startswith("_"):
                        yield f"{name}.{attribute}.{method}", function


FUNCTIONS = dict(public_functions())


def test_every_public_name_is_there_and_documented():
    assert 0 < len(jaxnst.__all__) <= 25
    for name in jaxnst.__all__:
        value = getattr(jaxnst, name)
        if callable(value):
            assert value.__doc__, name
    assert set(jaxnst.__all__) <= set(dir(jaxnst))
    with pytest.raises(AttributeError, match="no attribute 'styllize'"):
        jaxnst.styllize  # noqa: B018


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_functions_are_documented_and_annotated(name):
    function = FUNCTIONS[name]
    assert inspect.getdoc(function), f"{name} has no docstring"
    signature = inspect.signature(function)
    for parameter in signature.parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        assert parameter.annotation is not inspect.Parameter.empty, parameter
        assert parameter.name not in ("rng", "lr", "steps", "iterations"), parameter
    assert signature.return_annotation is not inspect.Signature.empty, name


def test_defaults_of_headline_functions_are_keyword_only():
    for function in (jaxnst.stylize, jaxnst.load_picture, jaxnst.Result.save):
        for parameter in inspect.signature(function).parameters.values():
            if parameter.default is not inspect.Parameter.empty:
                assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, parameter


def test_modules_say_what_they_are():
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert ast.get_docstring(ast.parse(text)), path


def test_no_function_has_its_module_s_name():
    for name, function in FUNCTIONS.items():
        if name.count(".") <= 2:
            home = function.__module__.rsplit(".", 1)[-1]
            assert home != function.__name__, name


def imports_of(name: str) -> set[str]:
    """Return the modules of jaxnst that a module imports, but for annotations alone."""
    path = PACKAGE.joinpath(*name.split(".")[1:])
    is_package = path.is_dir()
    path = path / "__init__.py" if is_package else path.with_suffix(".py")
    found = set()
    tree = ast.parse(path.read_text())
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom):
            continue
        base = node.module or ""
        if node.level:
            parts = name.split(".")
            parts = parts[: len(parts) - node.level + is_package]
            base = ".".join([*parts, *([base] if base else [])])
        if base.split(".")[0] != "jaxnst":
            continue
        names = {f"{base}.{alias.name}" for alias in node.names}
        found |= (names & set(MODULES)) or {base}
    return found - {name, "jaxnst"}


def test_imports_go_only_downward():
    height = {name: level for level, names in enumerate(STOREYS) for name in names}
    for name in MODULES[1:]:
        home = name.split(".")[1]
        for target in imports_of(name):
            below = target.split(".")[1]
            assert below == home or height[below] < height[home], f"{name}: {target}"


def test_there_is_no_circle_of_imports():
    graph = {name: imports_of(name) for name in MODULES[1:]}
    tuple(graphlib.TopologicalSorter(graph).static_order())


def test_the_house_is_small_enough_to_know():
    flat = [path for path in PACKAGE.glob("*.py") if not path.name.startswith("__")]
    assert len(flat) <= 8
    assert len(list(PACKAGE.rglob("*.py"))) <= 137


def test_importing_does_nothing():
    """No JAX, no matplotlib, no weights, no device, no output."""
    code = "import sys, jaxnst; assert not {'jax', 'matplotlib'} & {*sys.modules}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_submodules_need_no_import_of_their_own():
    code = "import jaxnst; print(jaxnst.losses.gram_matrix, jaxnst.networks.VGG19)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_module_imports_alone(tmp_path):
    """Each is the first of jaxnst's; what is not jaxnst's is imported once."""
    code = """
import gc, importlib, sys
import flax.nnx, jax, jaxtyping, optax
gc.disable()  # it would search all of JAX for every module
folder, *names = sys.argv[1:]
# Python compiles each module once, also where it is told to keep no bytecode.
sys.pycache_prefix, sys.dont_write_bytecode = folder, False
for name in names:
    for known in [key for key in sys.modules if key.split(".")[0] == "jaxnst"]:
        del sys.modules[known]
    importlib.import_module(name)
    print(name)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), *MODULES],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == MODULES
