"""Several styles in one picture."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jaxnst
from jaxnst.cli.main import main
from jaxnst.objective import compute_targets
from jaxnst.sweeps.table import place_paths


STYLE_LAYERS = ("relu1_1", "relu3_1")
FEW: dict[str, Any] = {
    "size": 48,
    "min_size": 0,
    "num_steps": 3,
    "content_layers": ["relu2_2"],
    "style_layers": list(STYLE_LAYERS),
    "progress": False,
}


@pytest.fixture
def other(rng):
    """A second style: dark, in a shape of its own."""
    return (0.3 * rng.random((40, 64, 3))).astype(np.float32)


def test_the_target_is_the_weighted_mean_of_the_grams(
    tiny_network, content, style, other
):
    content, style, other = map(jnp.asarray, (content, style, other))

    @jax.jit
    def measure(style, blend=None):
        return compute_targets(
            tiny_network,
            content,
            style,
            blend,
            content_layers=["relu2_2"],
            style_layers=STYLE_LAYERS,
        ).style

    grams = [measure(picture) for picture in (style, other)]
    blend = jnp.asarray([[[0.75, 0.25]] * 2], jnp.float32)
    mixed = measure((style, other), blend)
    plain = measure((style, other))
    for layer in STYLE_LAYERS:
        first, second = (np.asarray(gram[layer]["gram"][0]) for gram in grams)
        scale = np.abs(first).max()
        expected = 0.75 * first + 0.25 * second
        np.testing.assert_allclose(mixed[layer]["gram"][0], expected, atol=1e-6 * scale)
        expected = (first + second) / 2
        np.testing.assert_allclose(plain[layer]["gram"][0], expected, atol=1e-6 * scale)


def test_a_blend_of_one_is_that_one(tiny_network, content, style, other):
    alone, *blends = (
        jaxnst.stylize(content, pictures, network=tiny_network, **settings, **FEW)
        for pictures, settings in [
            (style, {}),
            ([style], {}),
            ([style, other], {"style_blend": [2, 0]}),
            ([style, style], {"style_blend": [1, 3]}),
        ]
    )
    for blend in blends:
        np.testing.assert_allclose(blend.image, alone.image, atol=1 / 255)
    different = jaxnst.stylize(content, [style, other], network=tiny_network, **FEW)
    assert np.abs(different.image - alone.image).max() > 0.02


def test_the_record_names_every_style(tiny_network, content, style, other):
    result = jaxnst.stylize(
        content, (style, other), network=tiny_network, style_blend=(1, 0.5), **FEW
    )
    inputs = result.record["inputs"]
    assert list(inputs) == ["content", "style 1", "style 2"]
    assert inputs["style 2"]["sha256"] == jaxnst.load_picture(other).sha256
    assert result.record["settings"]["style_blend"] == (1, 0.5)


@pytest.mark.parametrize(
    ("styles", "blend", "message"),
    [
        ([], None, "`style` is an empty list"),
        (1, [1, 2], "`style_blend` has 2 numbers for 1 style picture;"),
        (2, [1], "`style_blend` has 1 numbers for 2 style pictures;"),
        (2, [0, 0], "`style_blend` needs a number above 0"),
        (2, [1, -1], r"`style_blend\[1\]` must be"),
    ],
)
def test_blends_that_cannot_be(tiny_network, content, style, styles, blend, message):
    pictures = [style] * styles if isinstance(styles, int) else styles
    if styles == 1:
        pictures = style
    with pytest.raises(ValueError, match=message):
        jaxnst.stylize(
            content, pictures, network=tiny_network, style_blend=blend, **FEW
        )


def test_commands_blend(files, tmp_path, tiny_vgg19, other):
    """`stylize` and a table alike, with any number of styles."""
    content, style = map(str, files)
    second = tmp_path / "second.png"
    Image.fromarray((255 * other).astype(np.uint8)).save(second)
    flags = ["--size", "48", "--min-size", "0", "--num-steps", "2", "--quiet"]
    made = tmp_path / "made.png"
    pictures = [content, style, str(second)]
    blend = ["--style-blend", "3,1"]
    assert main(["stylize", *pictures, *blend, "-o", str(made), *flags]) == 0
    jobs = tmp_path / "jobs.csv"
    jobs.write_text(
        f'content,style,style_blend,output\n{content},{style}; {second},"3,1",row.png\n'
    )
    assert main(["batch", str(jobs), "-o", str(tmp_path / "out"), *flags]) == 0
    assert (tmp_path / "out/row.png").read_bytes() == made.read_bytes()
    # And it knows its own work.
    assert main(["batch", str(jobs), "-o", str(tmp_path / "out"), *flags]) == 0
    inputs = jaxnst.read_record(made)["inputs"]
    assert inputs["style 2"]["name"] == "second.png"


def test_styles_in_a_cell_are_separated_by_semicolons():
    for text, paths in {
        "a.jpg; b.jpg ;": [Path("x/a.jpg"), Path("x/b.jpg")],
        "a.jpg": Path("x/a.jpg"),
    }.items():
        assert place_paths({"style": text}, Path("x")) == {"style": paths}
