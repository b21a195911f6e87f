"""How the pictures of a contact sheet are broken into lines and columns."""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from .arranging import Block


MAX_CELL = 512
# What a screen shows at once, in pixels.
_SCREEN = (1600, 1000)
# An axis stays whole unless pictures would otherwise be so much larger.
_WHOLE = 0.62
_MAX_CUTS = 64


class Plan(NamedTuple):
    """Blocks are cut to `rows` x `columns`, and `across` of them lie in a line."""

    rows: int
    columns: int
    across: int


def fitted(shape: tuple[int, int], longest: int) -> tuple[int, int]:
    """Return (width, height) shrunk so that no side is over `longest`; not enlarged."""
    scale = min(1.0, longest / max(shape))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def cell_shape(shapes: Collection[tuple[int, int]], longest: int) -> tuple[int, int]:
    """Return (width, height) into which every shape fits, once shrunk."""
    sizes = [fitted(shape, longest) for shape in shapes]
    return max(size[0] for size in sizes), max(size[1] for size in sizes)


def largest_cell(shapes: Collection[tuple[int, int]]) -> int:
    """Return the longest side that a thumbnail can have."""
    return min(MAX_CELL, max(max(shape) for shape in shapes))


def choose_plan(blocks: Sequence[Block], shapes: Collection[tuple[int, int]]) -> Plan:
    """Choose the plan that shows pictures largest on a screen, at a rough estimate.

    Args:
        blocks: of one sweep, all with as many rows and columns.
        shapes: (width, height) of the pictures.
    """
    rows, columns = len(blocks[0].row_labels), len(blocks[0].column_labels)
    is_table = bool(blocks[0].row_name)
    num_lines = max(label.count("\n") + 1 for label in blocks[0].column_labels)
    longest = largest_cell(shapes)
    width, height = cell_shape(shapes, longest)

    def num_parts(down: int, across: int) -> int:
        return len(blocks) * -(-rows // down) * -(-columns // across)

    def score(plan: Plan) -> tuple[float, int]:
        parts = num_parts(plan.rows, plan.columns)
        lines = -(-parts // plan.across)
        # With room for labels, in parts of a picture.
        side, head = (0.5, 0.25) if is_table else (0.0, 0.05 + 0.1 * num_lines)
        total_width = plan.across * (plan.columns * width * 1.05 + side * longest)
        total_height = lines * (plan.rows * height * 1.05 + head * longest)
        scale = min(_SCREEN[0] / total_width, _SCREEN[1] / total_height, 1.0)
        # Rather full lines, if that costs little.
        return scale * (1.05 if parts % plan.across == 0 else 1.0), -lines

    def best(cuts: Iterable[tuple[int, int]]) -> tuple[tuple[float, int], Plan]:
        plans = []
        for cut in cuts:
            # One row alone goes on in the next line, not beside itself.
            most = min(num_parts(*cut), _MAX_CUTS) if is_table else 1
            plans += [Plan(*cut, count) for count in range(1, most + 1)]
        return max((score(plan), plan) for plan in plans)

    whole, plan = best([(rows, columns)])
    if rows > columns:
        cuts = {(-(-rows // n), columns) for n in range(2, min(rows, _MAX_CUTS) + 1)}
    else:
        most = min(columns, _MAX_CUTS) if is_table else columns
        cuts = {(rows, -(-columns // n)) for n in range(2, most + 1)}
    if cuts:
        divided, other = best(cuts)
        if whole[0] < _WHOLE * divided[0]:
            return other
    return plan
