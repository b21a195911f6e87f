"""Steps of jaxnst at one size, to be timed."""

import time

import jax
import jax.numpy as jnp
import numpy as np

import jaxnst
from jaxnst.config import TransferConfig
from jaxnst.networks import Network
from jaxnst.optimize import compiled_step, compiled_steps, init_state, make_optimizer
from jaxnst.transfer.plan import compiled_targets, weights_of


class Steps:
    """Compiled steps of the default recipe on random pictures.

    Style is Gram matrices alone, as in the steps of torch that they are held against.

    Attributes:
        compile_seconds: seconds to compile or load the program of the steps.
    """

    def __init__(
        self,
        size: int,
        *,
        padding: str | None = None,
        precision: str = "float32",
        memory: str = "fast",
        steps_per_call: int = 1,
        network: Network | None = None,
    ):
        """Measure the two pictures and compile.

        Args:
            size: side of the picture, a square, and of the style, in pixels.
            padding: padding of the convolutions; None: the default recipe's.
            precision: arithmetic of the network, as in `jaxnst.stylize`.
            memory: level of memory, "fast", "balanced" or "low".
            steps_per_call: number of steps in one call of the device.
            network: network to use; None: VGG-19.
        """
        padding = padding or TransferConfig().padding
        config = TransferConfig(
            padding=padding,
            precision=precision,
            memory=memory,
            style_loss={"gram": 1.0},
        )
        if network is None:
            network = jaxnst.load_network(padding=padding, precision=precision)
        network = network.with_memory(memory)
        generator = np.random.default_rng(0)
        content, style = (
            jnp.asarray(generator.random((size, size, 3), np.float32)) for _ in range(2)
        )
        targets = compiled_targets(
            network,
            content,
            style,
            content_layers=tuple(config.content_layers),
            style_layers=tuple(config.style_layers),
            normalization=config.normalization,
        )
        self._optimizer = make_optimizer("adam")
        self._state = init_state(content, self._optimizer)
        self._steps_per_call = steps_per_call
        self._step_fn, rates = compiled_step, [jnp.float32(0.02)]
        if steps_per_call > 1:
            self._step_fn = compiled_steps
            rates = [
                jnp.full(steps_per_call, 0.02, jnp.float32),
                jnp.asarray(steps_per_call, jnp.int32),
            ]
        self._rest = network, targets, weights_of(config), *rates
        jax.block_until_ready((self._state, targets))
        started = time.perf_counter()
        self._step_fn.lower(
            self._state, *self._rest, optimizer=self._optimizer
        ).compile()
        self.compile_seconds = time.perf_counter() - started

    def time(self, repeats: int, *, warm_up: int = 0) -> list[float]:
        """Return the seconds per step of so many calls.

        Args:
            repeats: number of steps that are timed.
            warm_up: number of steps before them, which are not timed.
        """
        seconds = []
        for _ in range(repeats + warm_up):
            started = time.perf_counter()
            self._state, info = self._step_fn(
                self._state, *self._rest, optimizer=self._optimizer
            )
            jax.block_until_ready((self._state, info))
            seconds.append((time.perf_counter() - started) / self._steps_per_call)
        return seconds[warm_up:]
