"""The step of one picture, or of many at once by `jax.vmap`, behind one interface.

The state of a batch has a leading axis with a row for each picture, its member. The
rows are distributed over the devices of a mesh, and each device maps the step over its
own. A single picture has no such axis, and its program is the step itself.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxnst._types import Image, Scalar
from jaxnst.networks.sharding import whole
from jaxnst.objective import FeatureFn, LossTerms, LossWeights, Targets

from .programs import Held, Program
from .pyramid import resize_state
from .stepping import (
    PackedInfos,
    StepInfo,
    TransferState,
    compiled_loss_and_gradient,
    compiled_step,
    compiled_steps,
    init_state,
    step,
    steps,
)


class StepDropped(Exception):
    """A step was given up before its end; the state is as it was before."""


# (fraction of the step that is done) -> whether to give up the step.
HeedFn = Callable[[float], bool]


# Name of the axis of the mesh.
_MEMBERS = "members"


def by_member(mesh: Mesh) -> NamedSharding:
    """Return the sharding of arrays that have a first axis of members."""
    return NamedSharding(mesh, PartitionSpec(_MEMBERS))


@dataclasses.dataclass(eq=False)
class StepProgram:
    """The compiled step of one picture, or of a batch of them.

    Attributes:
        averaging: decay of the average of the pictures, from 0 (no average) to below 1.
        steps_per_call: largest number of steps in one call.
        num_members: number of rows of the batch; a multiple of the devices. Rows
            without a picture repeat the first one.
        devices: devices over which a batch is distributed; None for one picture.
        shares_targets: whether all pictures of the batch have the same targets, so that
            each device holds them once.
    """

    network: FeatureFn
    optimizer: optax.GradientTransformationExtraArgs
    _: dataclasses.KW_ONLY
    normalization: str = "pair"
    averaging: float = 0.0
    steps_per_call: int = 1
    num_members: int = 1
    devices: Sequence[Any] | None = None
    shares_targets: bool = False

    def __post_init__(self):
        self._mesh: Mesh | None = None
        network = self.network
        if self.devices is not None:
            self._mesh = Mesh(np.array(self.devices), (_MEMBERS,))
            network = jax.device_put(network, whole(self._mesh))
        self._held = Held(network)
        # Weights of the members at the last call, and their rows on the devices.
        self._rows: tuple[Sequence[LossWeights], Any] = (), None

    @property
    def num_per_device(self) -> int:
        """The number of rows of the batch on each device; 1 for a single picture."""
        return self.num_members // len(self.devices or (None,))

    def init(self, image: Image | np.ndarray) -> TransferState:
        """Return the state of one picture before its first step."""
        return init_state(
            jnp.asarray(image), self.optimizer, use_average=self.averaging > 0
        )

    def prepare(
        self,
        state: Any,
        targets: Any,
        weights: Sequence[LossWeights],
        rates: Any = ((0.0,),),
    ) -> Program:
        """Return the program of one call, with its arguments.

        State and targets may be shapes. `rates` are the learning rates, with a row for
        each picture and a column for each step; those that are missing are 0.
        """
        static = {"optimizer": self.optimizer, "normalization": self.normalization}
        padded = np.zeros((self.num_members, self.steps_per_call), np.float32)
        padded[: len(rates), : len(rates[0])] = rates
        is_one_step = self.steps_per_call == 1
        each = padded[:, 0] if is_one_step else padded
        count = () if is_one_step else (np.int32(len(rates[0])),)
        rest = (*count, np.float32(self.averaging) if self.averaging else None)
        if self._mesh is None:
            function = compiled_step if is_one_step else compiled_steps
            args = (state, self._held, targets, weights[0], each[0], *rest)
        else:
            of_targets = None if self.shares_targets else 0
            axes = (0, None, of_targets, 0, 0, *[None] * len(rest))
            one = step if is_one_step else steps
            function = batched(one, self._mesh, axes, tuple(static), donated=(0,))
            rows = self._weight_rows(weights)
            args = (state, self._held, targets, rows, each, *rest)
        return Program(function, args, static)

    def _weight_rows(self, weights: Sequence[LossWeights]) -> Any:
        """Return the weights of a batch; they seldom change from call to call."""
        assert self._mesh is not None
        before, rows = self._rows
        if [*map(id, before)] != [*map(id, weights)]:
            rows = jax.tree.map(lambda *x: np.stack(x), *self._filled(weights))
            rows = jax.device_put(rows, by_member(self._mesh))
            self._rows = tuple(weights), rows
        return rows

    def prepare_loss(self, image: Any, targets: Any, weights: LossWeights) -> Program:
        """Return the program that measures one picture, for a line search."""
        args = (image, self._held, targets, weights)
        static = {"normalization": self.normalization}
        return Program(compiled_loss_and_gradient, args, static)

    def evaluate(
        self, image: Any, targets: Targets, weights: LossWeights
    ) -> tuple[Scalar, LossTerms, Image]:
        """Return the loss of one picture, its terms and its gradient."""
        return self.prepare_loss(image, targets, weights).run()

    def call(
        self,
        state: TransferState,
        targets: Targets,
        weights: Sequence[LossWeights],
        rates: Any,
        heed_fn: HeedFn = lambda part: False,
    ) -> tuple[TransferState, StepInfo | PackedInfos]:
        """Return the next state, in the buffers of `state`, and infos on the device.

        A call that lasts long calls `heed_fn` now and then, and raises `StepDropped` if
        it returns True.
        """
        return self.prepare(state, targets, weights, rates).run()

    def resize(
        self,
        state: TransferState,
        contents: Sequence[np.ndarray],
        content_details: Sequence[np.floating],
        *,
        wraps: tuple[bool, bool],
    ) -> TransferState:
        """Return the state at the size of the content pictures, see `resize_state`."""
        function = _compiled_resize
        if self._mesh is not None:
            function = batched(_resize, self._mesh, (0, 0, 0), _RESIZE_STATIC)
        pictures = self.stack(contents), self.stack(content_details)
        return function(state, *pictures, optimizer=self.optimizer, wraps=wraps)

    def stack(self, members: Sequence[Any]) -> Any:
        """Return the arrays of the batch from those of each picture."""
        if self._mesh is None:
            return members[0]
        placement = by_member(self._mesh)
        per_device = self.num_members // placement.num_devices

        def stacked(*leaves: Any) -> jax.Array:
            # On each device its own, as members may come from different devices.
            starts = range(0, self.num_members, per_device)
            blocks = [
                jnp.stack(jax.device_put(leaves[start : start + per_device], device))
                for start, device in zip(starts, self.devices or (), strict=True)
            ]
            shape = (self.num_members, *blocks[0].shape[1:])
            return jax.make_array_from_single_device_arrays(shape, placement, blocks)

        return jax.tree.map(stacked, *self._filled(members))

    def lay_out(self, state: Any, targets: Any) -> tuple[Any, Any]:
        """Return the shapes of state and targets of a call from those of a picture."""
        if self._mesh is None:
            return state, targets
        placement = by_member(self._mesh)

        def stacked(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
            shape = (self.num_members, *leaf.shape)
            return leaf.update(shape=shape, sharding=placement)

        if self.shares_targets:
            common = whole(self._mesh)
            laid = jax.tree.map(lambda leaf: leaf.update(sharding=common), targets)
        else:
            laid = jax.tree.map(stacked, targets)
        return jax.tree.map(stacked, state), laid

    def stack_targets(self, targets: Sequence[Targets]) -> Targets:
        """Return the targets of the batch from those of each picture."""
        if self._mesh is not None and self.shares_targets:
            return jax.device_put(targets[0], whole(self._mesh))
        return self.stack(targets)

    def member(self, tree: Any, index: int) -> Any:
        """Return the arrays of one picture from those of the batch."""
        if self._mesh is None:
            return tree

        device, own = divmod(index, self.num_members // self._mesh.size)

        def rows(leaf: jax.Array) -> jax.Array:
            # The shard itself, so that no other device takes part.
            shards = sorted(
                leaf.addressable_shards, key=lambda shard: shard.index[0].start or 0
            )
            return shards[device].data

        return _row(jax.tree.map(rows, tree), own)

    def replace(self, state: Any, members: Mapping[int, Any]) -> Any:
        """Return the state with `members`, {index of a picture: its new state}."""
        if self._mesh is None:
            return members.get(0, state)
        if not members:
            return state
        every = range(self.num_members)
        return self.stack(
            [members[i] if i in members else self.member(state, i) for i in every]
        )

    def fetch(
        self, info: StepInfo | PackedInfos, members: Iterable[int], num_steps: int
    ) -> Iterator[StepInfo]:
        """Yield what the first steps of a call found, on the host, for each member.

        All arrays have an axis of steps.
        """
        num_axes = (self._mesh is not None) + (self.steps_per_call > 1)
        lead = self.num_members, self.steps_per_call

        def shaped(leaf: Any) -> np.ndarray:
            return np.asarray(leaf).reshape(lead + leaf.shape[num_axes:])

        found = jax.tree.map(shaped, info)
        for index in members:
            own = jax.tree.map(lambda leaf, at=index: leaf[at, :num_steps], found)
            yield own.unpack() if isinstance(own, PackedInfos) else own

    def last_terms(
        self, info: StepInfo | PackedInfos, index: int, num_steps: int
    ) -> LossTerms:
        """Return the terms of the last of a call's steps, of one picture."""
        own = self.member(info, index)
        if not isinstance(own, PackedInfos):
            return own.terms
        return jax.tree.map(lambda leaf: leaf[num_steps - 1], own.unpack().terms)

    def measure(
        self, images: Sequence[Any], targets: Targets, weights: Sequence[LossWeights]
    ) -> np.ndarray:
        """Return the total loss of each picture; the pictures are not donated."""
        state = self.stack([self.init(image) for image in images])
        _, info = self.call(state, targets, weights, [[0.0]])
        found = self.fetch(info, range(len(images)), 1)
        return np.concatenate([own.terms.total for own in found])

    def _filled(self, members: Sequence[Any]) -> list[Any]:
        return [*members, *[members[0]] * (self.num_members - len(members))]


@jax.jit
def _row(rows: Any, index: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], rows)


def _resize(
    state: TransferState, content: Image, content_detail: Scalar, **static: Any
) -> TransferState:
    return resize_state(state, content, content_detail=content_detail, **static)


_RESIZE_STATIC = ("optimizer", "wraps")
_compiled_resize = jax.jit(_resize, static_argnames=_RESIZE_STATIC)


@functools.cache
def batched(
    function: Callable[..., Any],
    mesh: Mesh,
    axes: tuple[int | None, ...],
    static: tuple[str, ...],
    donated: tuple[int, ...] = (),
) -> Any:
    """Return the jitted `function` of a batch, sharded over a mesh.

    The argument with an axis of members has 0 in `axes`, any other one None.
    """

    def batch(*args: Any, **options: Any) -> Any:
        one = functools.partial(function, **options)

        def on_device(*args: Any) -> Any:
            rows = [arg for arg, axis in zip(args, axes, strict=True) if axis == 0]
            if jax.tree.leaves(rows)[0].shape[0] > 1:
                return jax.vmap(one, in_axes=axes)(*args)
            # Without vmap: nearly the program of a single picture.
            single = [
                arg if axis is None else jax.tree.map(lambda leaf: leaf[0], arg)
                for arg, axis in zip(args, axes, strict=True)
            ]
            return jax.tree.map(lambda leaf: leaf[None], one(*single))

        own, common = PartitionSpec(_MEMBERS), PartitionSpec()
        return jax.shard_map(
            on_device,
            mesh=mesh,
            in_specs=tuple(common if axis is None else own for axis in axes),
            out_specs=own,
            check_vma=False,
        )(*args)

    batch.__name__ = function.__name__  # the program's name, in profiles for example
    return jax.jit(batch, static_argnames=static, donate_argnums=donated)
