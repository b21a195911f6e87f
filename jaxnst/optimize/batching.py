"""The step of one picture, or of many at once by `jax.vmap`, behind one interface.

The state of a batch has a leading axis with a row for each picture, its member. The
rows are distributed over the devices of a mesh, and each device maps the step over its
own. A single picture has no such axis, and its program is the step itself.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxnst._types import Image
from jaxnst.objective import FeatureFn, LossTerms, LossWeights, Targets

from .programs import Program
from .pyramid import resize_state
from .stepping import (
    StepInfo,
    TransferState,
    compiled_loss_and_gradient,
    compiled_step,
    compiled_steps,
    init_state,
    step,
    steps,
)


# The axis of the mesh.
_MEMBERS = "members"
_STATIC = ("optimizer", "normalization")

compiled_resize = jax.jit(
    resize_state, static_argnames=("optimizer", "content_detail", "wraps")
)


class StepProgram:
    """The compiled step of one picture, or of a batch of them.

    Args:
        network: the frozen feature extractor.
        optimizer: any optax transformation.
        normalization: "pair" or "paper".
        averaging: decay of the average of the pictures, from 0 (no average) to below 1.
        steps_per_call: largest number of steps in one call.
        num_members: number of pictures in the batch; a multiple of the devices.
        devices: devices over which a batch is distributed; None for one picture.
        shares_targets: whether all pictures of the batch have the same targets, so that
            each device holds them once.
    """

    def __init__(
        self,
        network: FeatureFn,
        optimizer: optax.GradientTransformationExtraArgs,
        *,
        normalization: str = "pair",
        averaging: float = 0.0,
        steps_per_call: int = 1,
        num_members: int = 1,
        devices: Sequence[Any] | None = None,
        shares_targets: bool = False,
    ):
        self.network = network
        self.optimizer = optimizer
        self.normalization = normalization
        self.averaging = averaging
        self.steps_per_call = steps_per_call
        self.num_members = num_members
        self.shares_targets = shares_targets
        self._mesh = None
        self._devices = devices or ()
        if devices is not None:
            if num_members % len(devices):
                raise ValueError(
                    f"a batch of {num_members} pictures cannot be distributed evenly "
                    f"over {len(devices)} devices; use a multiple of them."
                )
            self._mesh = Mesh(np.array(devices), (_MEMBERS,))
            self.network = jax.device_put(network, self._placed(PartitionSpec()))

    @property
    def is_batch(self) -> bool:
        """Whether arrays have an axis of members, even of length one."""
        return self._mesh is not None

    def with_optimizer(
        self, optimizer: optax.GradientTransformationExtraArgs
    ) -> "StepProgram":
        """Return the same program for one picture with another optimizer."""
        assert self._mesh is None
        return StepProgram(
            self.network,
            optimizer,
            normalization=self.normalization,
            averaging=self.averaging,
            steps_per_call=self.steps_per_call,
        )

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
        rates: Sequence[Sequence[float]] = ((0.0,),),
    ) -> Program:
        """Return the program of one call, with its arguments.

        Args:
            state: state of all pictures, or its shapes.
            targets: targets of the picture, of the batch (see `stack_targets`), or
                those that all members share; or their shapes.
            weights: loss weights of each picture.
            rates: learning rates of the steps of each picture, equally many for each.
        """
        static = {"optimizer": self.optimizer, "normalization": self.normalization}
        averaging = np.float32(self.averaging) if self.averaging else None
        is_one_step = self.steps_per_call == 1
        padded = np.zeros((self.num_members, self.steps_per_call), np.float32)
        padded[:, : len(rates[0])] = rates
        each = padded[:, 0] if is_one_step else padded
        count = () if is_one_step else (np.int32(len(rates[0])),)
        if self._mesh is None:
            function = compiled_step if is_one_step else compiled_steps
            rest = (*count, averaging)
            args = (state, self.network, targets, weights[0], each[0], *rest)
            return Program(function, args, static)
        function = _batch_step(self._mesh, is_one_step, self.shares_targets)
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *weights)
        args = (state, self.network, targets, stacked, each, (*count, averaging))
        return Program(function, args, static)

    def prepare_loss(self, image: Any, targets: Any, weights: LossWeights) -> Program:
        """Return the program that measures one picture, for a line search.

        Args:
            image: picture to be measured, or its shape.
            targets: targets of the picture, or their shapes.
            weights: loss weights of the picture.
        """
        args = (image, self.network, targets, weights)
        static = {"normalization": self.normalization}
        return Program(compiled_loss_and_gradient, args, static)

    def call(
        self,
        state: TransferState,
        targets: Targets,
        weights: Sequence[LossWeights],
        rates: Sequence[Sequence[float]],
    ) -> tuple[TransferState, StepInfo]:
        """Make as many steps as there are rates; the buffers of `state` are donated.

        Args:
            state: state of all pictures.
            targets: targets of the picture, of the batch, or those that are shared.
            weights: loss weights of each picture.
            rates: learning rates of the steps of each picture, equally many for each.

        Returns:
            The next state, and infos on the device, see `fetch`.
        """
        program = self.prepare(state, targets, weights, rates)
        return program.function(*program.args, **program.static)

    def resize(
        self,
        state: TransferState,
        contents: Sequence[np.ndarray],
        *,
        content_detail: float,
        wraps: tuple[bool, bool],
    ) -> TransferState:
        """Return the state at another size, see `resize_state`.

        Args:
            state: state of all pictures.
            contents: content picture of each picture, at the new size.
            content_detail: amount of the content's fine detail that is added; 0 to 1.
            wraps: whether pictures wrap around, vertically and horizontally.
        """
        static = {
            "optimizer": self.optimizer,
            "content_detail": content_detail,
            "wraps": wraps,
        }
        if self._mesh is None:
            return compiled_resize(state, jnp.asarray(contents[0]), **static)
        return _batch_resize(self._mesh)(state, self.stack(contents), **static)

    def stack(self, members: Sequence[Any]) -> Any:
        """Return one tree of arrays of the batch from a tree of each picture."""
        if self._mesh is None:
            return members[0]
        placement = self._placed(PartitionSpec(_MEMBERS))

        def stacked(*leaves: Any) -> jax.Array:
            per_device = self.num_members // placement.num_devices
            blocks = []
            for number, device in enumerate(self._devices):
                own = leaves[number * per_device : (number + 1) * per_device]
                blocks.append(jnp.stack([jax.device_put(x, device) for x in own]))
            shape = (self.num_members, *blocks[0].shape[1:])
            return jax.make_array_from_single_device_arrays(shape, placement, blocks)

        return jax.tree.map(stacked, *members)

    def stack_targets(self, targets: Sequence[Targets]) -> Targets:
        """Return the targets of the batch from those of each picture."""
        if self._mesh is not None and self.shares_targets:
            return jax.device_put(targets[0], self._placed(PartitionSpec()))
        return self.stack(targets)

    def member(self, tree: Any, index: int) -> Any:
        """Return the arrays of one picture in a tree of arrays of the batch.

        Args:
            tree: tree of arrays of the batch.
            index: index of the picture.
        """
        if self._mesh is None:
            return tree

        def row(leaf: jax.Array) -> jax.Array:
            # Read from the shard itself, so that no other device takes part.
            shards = sorted(
                leaf.addressable_shards, key=lambda shard: shard.index[0].start or 0
            )
            device, own = divmod(index, leaf.shape[0] // len(shards))
            return shards[device].data[own]

        return jax.tree.map(row, tree)

    def replace(self, state: Any, members: Mapping[int, Any]) -> Any:
        """Return the state with other states of some pictures.

        Args:
            state: state of all pictures.
            members: {index of a picture: its new state}.
        """
        if self._mesh is None:
            return members.get(0, state)
        if not members:
            return state
        every = range(self.num_members)
        return self.stack(
            [members[i] if i in members else self.member(state, i) for i in every]
        )

    def fetch(self, infos: Any) -> Any:
        """Return infos on the host, with an axis of pictures and one of steps."""
        has_axes = self._mesh is not None, self.steps_per_call > 1
        lead = self.num_members, self.steps_per_call

        def shaped(leaf: Any) -> np.ndarray:
            leaf = np.asarray(leaf)
            return leaf.reshape(lead + leaf.shape[sum(has_axes) :])

        return jax.tree.map(shaped, jax.device_get(infos))

    def last_info(self, info: StepInfo, index: int, num_steps: int) -> StepInfo:
        """Return the info of the last step of one picture, on the device.

        Args:
            info: info of a call.
            index: index of the picture.
            num_steps: number of steps that the call made.
        """
        own = self.member(info, index)
        if self.steps_per_call == 1:
            return own
        return jax.tree.map(lambda leaf: leaf[num_steps - 1], own)

    def measure_terms(
        self,
        images: Sequence[Any],
        targets: Targets,
        weights: Sequence[LossWeights],
    ) -> list[LossTerms]:
        """Return the loss terms of pictures, on the host; the states do not change.

        Args:
            images: one picture for each member.
            targets: targets of the picture, of the batch, or those that are shared.
            weights: loss weights of each picture.
        """
        state = self.stack([self.init(image) for image in images])
        rates = [[0.0]] * self.num_members
        _, info = self.call(state, targets, weights, rates)
        terms = self.fetch(info.terms)
        return [
            jax.tree.map(lambda leaf, i=i: leaf[i, 0], terms)
            for i in range(self.num_members)
        ]

    def _placed(self, spec: PartitionSpec) -> NamedSharding:
        assert self._mesh is not None
        return NamedSharding(self._mesh, spec)


@functools.cache
def _batch_step(mesh: Mesh, is_one_step: bool, shares_targets: bool) -> Any:
    """Return the jitted step of a batch, whose rows lie on the devices of a mesh."""
    function = step if is_one_step else steps
    own, common = PartitionSpec(_MEMBERS), PartitionSpec()

    def batch(
        state: Any,
        network: Any,
        targets: Any,
        weights: Any,
        rates: Any,
        rest: Any,
        **static: Any,
    ) -> Any:
        def on_device(
            state: Any, network: Any, targets: Any, weights: Any, rates: Any, rest: Any
        ) -> Any:
            def one(state: Any, targets: Any, weights: Any, rates: Any) -> Any:
                return function(
                    state, network, targets, weights, rates, *rest, **static
                )

            if rates.shape[0] > 1:
                axes = 0, None if shares_targets else 0, 0, 0
                return jax.vmap(one, in_axes=axes)(state, targets, weights, rates)
            # Without vmap: nearly the program of a single picture.
            state, weights, rates = _first((state, weights, rates))
            targets = targets if shares_targets else _first(targets)
            made = one(state, targets, weights, rates)
            return jax.tree.map(lambda leaf: leaf[None], made)

        targets_spec = common if shares_targets else own
        return jax.shard_map(
            on_device,
            mesh=mesh,
            in_specs=(own, common, targets_spec, own, own, common),
            out_specs=own,
            check_vma=False,
        )(state, network, targets, weights, rates, rest)

    return jax.jit(batch, static_argnames=_STATIC, donate_argnames=("state",))


@functools.cache
def _batch_resize(mesh: Mesh) -> Any:
    """Return the jitted `resize_state` of a batch."""
    own = PartitionSpec(_MEMBERS)

    def batch(state: Any, contents: Any, **static: Any) -> Any:
        def on_device(state: Any, contents: Any) -> Any:
            resize = functools.partial(resize_state, **static)
            return jax.vmap(resize)(state, contents)

        return jax.shard_map(
            on_device, mesh=mesh, in_specs=(own, own), out_specs=own, check_vma=False
        )(state, contents)

    return jax.jit(batch, static_argnames=("optimizer", "content_detail", "wraps"))


def _first(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[0], tree)
