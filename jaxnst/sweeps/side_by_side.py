"""Several paintings that go through their steps together.

Each is a generator of calls of its own: it may have other weights and rates, end a size
early, go back after trouble, or fail; the others do not notice. Those that are ahead
wait for those that are still at a smaller size, so that the same calls come together.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax

from jaxnst.calls import Call, Calls

from .lanes import Lanes


T = TypeVar("T")


def run_side_by_side(
    paintings: Sequence[Calls[T]],
    lanes: Lanes,
    alone_fn: Callable[[int, Call], Any],
) -> list[T | Exception]:
    """Run paintings side by side; return what each returns, or the error it raises.

    Args:
        paintings: no more than there are lanes.
        lanes: which make their common calls.
        alone_fn: given the number of a painting and its call, makes the call by itself;
            or returns None where it is to be made with those of others.

    Raises:
        KeyboardInterrupt: as paintings do, once all of them are closed.
    """
    ended: dict[int, T | Exception] = {}
    due: dict[int, Call] = {}

    def go_on(number: int, answer: Any, error: Exception | None = None) -> None:
        """Let a painting run up to the next call that it shares with others."""
        painting = paintings[number]
        try:
            while True:
                call = painting.throw(error) if error else painting.send(answer)
                error = None
                try:
                    answer = alone_fn(number, call)
                except Exception as raised:
                    error = raised
                    continue
                if answer is None:
                    due[number] = call
                    return
        except StopIteration as end:
            ended[number] = end.value
        except Exception as raised:
            ended[number] = raised

    try:
        for number in range(len(paintings)):
            go_on(number, None)
        while due:
            calls = _next_calls(due)
            for number in calls:
                del due[number]
            try:
                answers = lanes.make(calls)
            except Exception as error:
                for number in calls:
                    go_on(number, None, error)
            else:
                for number, answer in answers.items():
                    go_on(number, answer)
    finally:
        for painting in paintings:
            painting.close()
    return [ended[number] for number in range(len(paintings))]


def _next_calls(due: dict[int, Call]) -> dict[int, Call]:
    """Return calls to be made as one: of the smallest size, as many as there are."""
    groups: dict[Any, dict[int, Call]] = {}
    for number, call in due.items():
        groups.setdefault(_kind(call), {})[number] = call
    return min(groups.values(), key=lambda calls: (_num_pixels(calls), -len(calls)))


def _kind(call: Call) -> Any:
    leaves, structure = jax.tree.flatten(call.args)
    shapes = tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves)
    static = tuple(sorted(call.static.items()))
    return id(call.function), structure, shapes, static


def _num_pixels(calls: dict[int, Call]) -> int:
    """Return how many pixels the largest picture has that a call is given."""
    first = next(iter(calls.values()))
    leaves = jax.tree.leaves(first.args)
    return max(leaf.size for leaf in leaves if leaf.shape[-1:] == (3,))
