"""Clips: painted frames, from still pictures to cuts, and what is kept of them."""

import concurrent.futures
import errno
import functools
import itertools
import re
import shutil
import signal
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import forget_programs, num_programs, picture

import jaxnst
from jaxnst.cli.video import _parse_over_time
from jaxnst.images.files import atomic_write
from jaxnst.objective import Temporal, _temporal_term
from jaxnst.optimize.batching import StepProgram
from jaxnst.optimize.loop import run_size
from jaxnst.transfer import memory
from jaxnst.videos import driver, folder, motion, painting
from jaxnst.videos.flow import (
    certainty_of,
    check_consistency,
    dis_flow,
    read_flow,
    warp,
)
from jaxnst.videos.jobs import plan_clip, settings_of_clip
from jaxnst.videos.measuring import measure_frames, summarize
from jaxnst.videos.source import open_clip


QUICK: dict[str, Any] = {
    "size": 64,
    "min_size": 0,
    "num_steps": 5,
    "frame_steps": 3,
    "progress": False,
}
PICTURE = {name: x for name, x in QUICK.items() if name != "frame_steps"}
# Every clip here is painted with the tiny network, under the name of VGG-19.
pytestmark = pytest.mark.usefixtures("tiny_vgg19")


def levels(image):
    return np.round(255 * image).astype(np.uint8)


@pytest.fixture(scope="module")
def pan():
    """Return five windows of one picture, each two pixels beside the last."""
    wide = levels(picture(48, 80, seed=1))
    return [wide[:, 2 * i : 2 * i + 64] for i in range(5)]


def textured(height=48, width=64, seed=1):
    """Return a picture in which every place can be told from others."""
    noise = np.random.default_rng(seed).normal(0, 0.08, (height, width, 3))
    return np.clip(picture(height, width, seed=seed) + noise, 0, 1).astype(np.float32)


def frames_of(result):
    return np.stack([*result])


def same(one, other):
    """Whether pictures are equal once they have 16 bits."""
    return np.array_equal(np.round(65535 * one), np.round(65535 * other))


def test_a_still_clip_stands_still_and_the_first_frame_is_that_of_stylize(style):
    photo = levels(picture(48, 64, seed=1))
    result = jaxnst.video([photo] * 4, style, **QUICK)
    frames = frames_of(result)
    assert all(np.array_equal(frames[0], frame) for frame in frames)
    assert [row["steps"] for row in result.rows] == [5, 0, 0, 0]
    assert [row["still"] for row in result.rows[1:]] == [1, 1, 1]
    assert same(frames[0], jaxnst.stylize(photo, style, **PICTURE).image)
    assert len(result) == 4
    assert result.times == (0, 0.04, 0.08, 0.12)
    assert result.record["kind"] == "video"


def test_what_moves_is_carried_and_programs_are_compiled_once(pan, style):
    forget_programs()
    short = jaxnst.video(pan[:2], style, **QUICK)
    count = num_programs()
    result = jaxnst.video(pan, style, **QUICK)
    assert num_programs() == count
    assert np.array_equal(frames_of(short), frames_of(result)[:2])
    alone = jaxnst.video(pan, style, **QUICK, steadiness=0)
    contents = [frame / np.float32(255) for frame in pan]
    held, single = (
        summarize([*measure_frames(each, contents)]) for each in (result, alone)
    )
    # The first frame has not settled yet, and a tiny network is no painter.
    assert held["warp_error"] < 0.5 * single["warp_error"]
    assert held["warp_error_content"] == single["warp_error_content"]
    assert 0.5 < held["detail_kept"] < 2
    one = jaxnst.stylize(pan[3], style, **PICTURE).image
    assert same(frames_of(alone)[3], one)


def test_the_time_left_knows_what_frames_take(pan, style, monkeypatch, capsys):
    """A step takes a second here: 20 for the first frame, 2 for each other one."""
    clock, call = [0.0], StepProgram.call

    def timed(*args, **options):
        clock[0] += 1
        return call(*args, **options)

    monkeypatch.setattr(StepProgram, "call", timed)
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    steps = {"num_steps": 20, "frame_steps": 2, "progress": True}
    jaxnst.video(pan, style, **QUICK | steps)
    told = re.findall(
        r"^frame (\d) of 5 .* about (\d+) s left", capsys.readouterr().err, re.M
    )
    assert [number for number, _ in told] == ["1", "2", "3", "4", "5"]
    for (_, left), seconds in zip(told, (8, 6, 4, 2, 0), strict=True):
        assert seconds <= int(left) <= 1.3 * seconds


def test_noise_is_not_painted_again(style, rng):
    photo = textured()
    noisy = [
        levels(np.clip(photo + rng.normal(0, 2 / 255, photo.shape), 0, 1))
        for _ in range(5)
    ]
    result = jaxnst.video(noisy, style, **QUICK)
    assert min(row["still"] for row in result.rows[1:]) > 0.8
    frames = 255 * frames_of(result)
    assert abs(frames[4].mean() - frames[0].mean()) < 1
    assert abs(frames[4].std() - frames[0].std()) < 1


def test_a_cut_begins_a_shot_and_a_flash_does_not(pan, style):
    other = [levels(picture(48, 64, seed=7))] * 2
    result = jaxnst.video([*pan[:3], *other], style, **QUICK)
    assert [row["shot"] for row in result.rows] == [0, 0, 0, 1, 1]
    one = jaxnst.stylize(other[0], style, **PICTURE).image
    assert same(frames_of(result)[3], one)
    flash = [pan[0], pan[1], np.full_like(pan[1], 250), pan[3], pan[4]]
    result = jaxnst.video(flash, style, **QUICK)
    assert {row["shot"] for row in result.rows} == {0}
    assert result.rows[3]["certainty"] > 0.7  # of the frame before the flash
    result = jaxnst.video(pan, style, **QUICK, cuts=[2, 0.12])
    assert [row["shot"] for row in result.rows] == [0, 0, 1, 2, 2]
    result = jaxnst.video(pan, style, **QUICK, cuts=[1, 2, 4], start=1, stop=3)
    assert [row["shot"] for row in result.rows] == [0, 1]


def test_layers_that_no_frame_needs_take_no_memory(pan, style):
    layers = {"content_layers": ["relu2_1"], "style_layers": ["relu1_1", "relu2_1"]}
    own = driver.make_clip_config({"cuts": [2]})
    job = plan_clip(pan, style, own, "dis", {"size": 64, "min_size": 0} | layers)
    networks = job.first.network, job.first_of_shot(1).network
    assert all(x is y for x, y in zip(*map(jax.tree.leaves, networks), strict=True))
    loaded, _ = job.loaders["network_fn"]("vgg19")
    assert hasattr(loaded, "conv2_1")
    assert not hasattr(loaded, "conv3_1")


def test_light_is_followed():
    photo = textured()
    style = 0.7 * textured(seed=1)[:, ::-1]  # of the same colors
    faded = [levels(photo * 0.7 + 0.01 * i) for i in range(8)]
    # Without steps that paint, which a first frame so unsettled would need.
    result = jaxnst.video(faded, style, **QUICK, frame_learning_rate=1e-6)
    means = 255 * frames_of(result).mean((1, 2, 3))
    wanted = [x.mean() for x in faded]
    # Clipped colors apart, the painting becomes as much lighter as the clip.
    change = (means - means[0]) - (np.array(wanted) - wanted[0])
    assert np.abs(change).max() < 2


def files_of(folder):
    """Return what is in a folder, less seconds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix == ".png":
            found[path.name] = path.read_bytes()
    return found


class KilledError(Exception):
    pass


def test_a_killed_run_goes_on_with_the_same_bytes(pan, style, tmp_path):
    whole = tmp_path / "whole.mp4"
    jaxnst.video(pan, style, output=whole, keep=True, passes=2, **QUICK)
    frames = files_of(tmp_path / "whole.mp4.frames")
    assert sorted(frames) == [f"{i:06}-2.png" for i in range(5)]
    for stop in (1, 4, 7):
        output = tmp_path / f"killed_{stop}.mp4"
        seen = []

        def kill(row, seen=seen, stop=stop):
            seen.append(row)
            if len(seen) == stop:
                raise KilledError

        with pytest.raises(KilledError):
            jaxnst.video(pan, style, output=output, passes=2, callback=kill, **QUICK)
        place = output.with_name(f"{output.name}.frames")
        with (place / "frames.csv").open("a") as table:
            # Garbage, as after a power cut, and a row that is cut off.
            table.write("\0" * 200_000 + "\n3,1,0,0.1")
        (place / "000004.png").write_bytes(b"half a picture")
        jaxnst.video(pan, style, output=output, keep=True, passes=2, **QUICK)
        assert files_of(place) == frames
        assert output.read_bytes() == whole.read_bytes()
    given: dict[str, Any] = QUICK | {"frame_steps": 4}
    with pytest.raises(ValueError, match="holds frames of another clip: `clip` frame"):
        jaxnst.video(pan, style, output=whole, passes=2, **given)
    shutil.rmtree(tmp_path / "whole.mp4.frames")
    (tmp_path / "whole.mp4.frames").mkdir()
    (tmp_path / "whole.mp4.frames" / "mine.txt").write_text("")
    with pytest.raises(FileExistsError, match="full of other things"):
        jaxnst.video(pan, style, output=whole, **QUICK)


def test_a_callback_stops_and_the_frames_are_put_together(pan, style, tmp_path):
    output = tmp_path / "out.mkv"
    result = jaxnst.video(
        pan, style, output=output, callback=lambda row: row["frame"] == 2, **QUICK
    )
    assert len(result) == len(open_clip(output)) == 3
    assert result.record["result"]["stopped"] == "interrupted"
    assert jaxnst.read_record(output)["result"]["frames"] == 3
    seen = []
    result = jaxnst.video(
        pan,
        style,
        passes=2,
        callback=lambda row: seen.append(row) or len(seen) == 6,
        **QUICK,
    )
    assert len(result) == 5
    assert result.record["result"]["stopped"] == "interrupted"
    assert (seen[0]["frames"], seen[0]["passes"]) == (5, 2)

    def give_up(view):
        raise KeyboardInterrupt

    with pytest.raises(jaxnst.VideoInterrupted) as caught:
        jaxnst.video(pan, style, step_callback=give_up, **QUICK)
    assert caught.value.result is None


def test_a_step_callback_s_own_error_passes_as_it_is(pan, style):
    own = MemoryError("of the callback's own")

    def callback(view):
        raise own

    with pytest.raises(MemoryError) as caught:
        jaxnst.video(pan, style, step_callback=callback, **QUICK)
    assert caught.value is own


def test_a_full_disk_loses_nothing(pan, style, tmp_path, monkeypatch):
    def write(path, *args):
        if path.name == "000002.png":
            raise OSError(errno.ENOSPC, "No space left on device")
        return atomic_write(path, *args)

    output = tmp_path / "out.mp4"
    with monkeypatch.context() as patch:
        patch.setattr(folder, "atomic_write", write)
        message = "frame 2 cannot be written to .*: No space left .* goes on from them"
        with pytest.raises(OSError, match=message):
            jaxnst.video(pan, style, output=output, **QUICK)
    seen = []
    jaxnst.video(pan, style, output=output, callback=seen.append, **QUICK)
    assert [row["frame"] for row in seen] == [2, 3, 4]


def test_ctrl_c_puts_together_what_is_there(pan, style, tmp_path, interruptible):
    def interrupt(row):
        if row["frame"] == 1:
            signal.raise_signal(signal.SIGINT)

    output = tmp_path / "out.mp4"
    with pytest.raises(jaxnst.VideoInterrupted) as caught:
        jaxnst.video(pan, style, output=output, callback=interrupt, **QUICK)
    assert caught.value.result is not None
    assert len(caught.value.result) == 2
    assert len(open_clip(output)) == 2
    whole = jaxnst.video(pan, style, output=output, **QUICK)
    assert len(whole) == len(open_clip(output)) == 5
    assert [each.shape for each in whole] == [(48, 64, 3)] * 5
    # Now it is finished, and an interrupted one goes beside it.
    with pytest.raises(jaxnst.VideoInterrupted) as caught:
        jaxnst.video(pan, style, output=output, callback=interrupt, **QUICK)
    assert caught.value.result is not None
    assert caught.value.result.path == tmp_path / "out.partial.mp4"
    assert len(open_clip(output)) == 5


def test_ctrl_c_while_frames_are_put_together(
    pan, style, tmp_path, interruptible, monkeypatch
):
    output = tmp_path / "out.mp4"
    with monkeypatch.context() as patch:
        patch.setattr(
            driver, "write_clip", lambda *_, **__: signal.raise_signal(signal.SIGINT)
        )
        with pytest.raises(jaxnst.VideoInterrupted) as caught:
            jaxnst.video(pan, style, output=output, **QUICK)
    result = caught.value.result
    assert result is not None
    assert result.path is None
    assert len([*result]) == 5
    seen = []
    jaxnst.video(pan, style, output=output, callback=seen.append, **QUICK)
    assert output.exists()
    assert not seen
    with pytest.raises(FileNotFoundError, match="the folder of frames was removed"):
        next(iter(result))


def test_reach_passes_and_loop(pan, style, tmp_path):
    long = jaxnst.video(pan, style, **QUICK, reach=(1, 3))
    plain = jaxnst.video(pan, style, **QUICK)
    assert np.array_equal(frames_of(long)[:3], frames_of(plain)[:3])
    assert not np.array_equal(frames_of(long)[3], frames_of(plain)[3])
    there_and_back = [*pan, *pan[3:0:-1]]
    output, seen = tmp_path / "out.mp4", []

    def kill(row):  # in the second pass, after its first frame
        seen.append(row)
        if len(seen) == 10:
            raise KilledError

    with pytest.raises(KilledError):
        jaxnst.video(
            there_and_back, style, output=output, loop=True, callback=kill, **QUICK
        )
    loop = jaxnst.video(
        there_and_back, style, output=output, loop=True, keep=True, **QUICK
    )
    whole = jaxnst.video(there_and_back, style, **QUICK, loop=True)
    assert np.array_equal(frames_of(loop), frames_of(whole))
    assert {row["pass"] for row in loop.rows} == {2}
    frames = frames_of(loop)
    steps = [
        np.abs(a[:, 2:-2] - b[:, 2:-2]).mean()
        for a, b in itertools.pairwise([*frames, frames[0]])
    ]
    assert steps[-1] < 1.5 * max(steps[:-1])


def test_settings_over_time(pan, style):
    result = jaxnst.video(
        pan,
        [style, style[::-1].copy()],
        **QUICK,
        strength={0: 0.3, 4: 0.8},
        style_blend={0: [1, 0], 0.16: [0, 1]},
        detail={0: -1, 4: 1},
    )
    assert result.record["over_time"]["strength"] == [[0, 0.3], [4, 0.8]]
    ratios = [float(row["ratios"]) for row in result.rows]
    assert ratios[-1] > ratios[0]
    with pytest.raises(
        ValueError, match="`strength` names frame 9, but clip ends after 5"
    ):
        jaxnst.video(pan, style, **QUICK, strength={0: 0.3, 9: 0.8})
    for settings, message in (
        ({"detail": {0: 0.3, 2: 8}}, "`detail` must be between -1 and 1"),
        ({"strength": {1: 0.3, 0.04: 0.8}}, "`strength` names frame 1 twice"),
        ({"strength": {-1: 0.3}}, "`strength` has the moment -1"),
        (
            {"style_blend": {0: [1, 0], 1: [[1], [0, 1]]}},
            "must have numbers of one form",
        ),
        ({"style_weight": {0: 1, 4: 0}, "content_weight": 0}, "nothing to paint"),
    ):
        given: dict[str, Any] = QUICK | settings
        with pytest.raises(ValueError, match=message):
            jaxnst.video(pan, style, **given)
    jaxnst.video(
        pan, style, **QUICK, detail={np.int64(0): 1, np.float32(0.2): 0}, stop=2
    )  # up to the end


def test_strength_over_time_reaches_what_stands_still(pan, style):
    still = [pan[0]] * 4
    result = jaxnst.video(still, style, **QUICK, strength={0: 0, 2: 0.8})
    frames = frames_of(result)
    assert same(frames[0], pan[0] / np.float32(255))
    assert [row["steps"] for row in result.rows] == [0, 3, 3, 3]
    changes = np.abs(frames - frames[0]).mean((1, 2, 3))
    assert (np.diff(changes) > 0).all()
    ratios = [float(row["ratios"]) for row in result.rows[1:]]
    assert ratios[1] > ratios[0] + 1  # at once, not after many frames
    # Colors go with the strength at once, too.
    asked = jaxnst.stylize(pan[0], style, **PICTURE, init="recolored", strength=0.8)
    colored = np.linalg.norm(frames[2:].mean((1, 2)) - asked.image.mean((0, 1)), axis=1)
    plain = np.linalg.norm(frames[0].mean((0, 1)) - asked.image.mean((0, 1)))
    assert colored.max() < 0.5 * plain
    result = jaxnst.video(still[:3], style, **QUICK, strength={0: 0.8, 2: 0})
    assert same(frames_of(result)[2], pan[0] / np.float32(255))


def test_masks_and_strengths_may_be_clips(pan, style):
    masks = np.zeros((5, 48, 64), np.float32)
    for index in range(5):
        masks[index, :, 16 + 4 * index :] = 1
    # Strengths 0.4 and 0.7, whose border moves.
    strengths = [np.where(mask > 0, 0.4, 0.7) for mask in masks[::-1]]
    result = jaxnst.video(pan, style, masks=[[*masks]], strength=strengths, **QUICK)
    assert {"mask 1", "strength"} <= set(result.record["inputs"])
    assert len(result.rows[-1]["ratios"].split()) == 2
    outside = frames_of(result)[4][:, :14] - pan[4][:, :14] / 255
    assert np.abs(outside).max() < 0.02  # no style, so the clip as it is
    with pytest.raises(ValueError, match=r"`masks\[0\]` has 4 frames, but the clip 5"):
        jaxnst.video(pan, style, masks=[[*masks[:4]]], **QUICK)
    with pytest.raises(ValueError, match=r"`masks\[0\]` .* like numbers of classes"):
        jaxnst.video(pan, style, masks=[masks.astype(np.uint8)], **QUICK)


def test_masks_may_be_empty_for_a_while(pan, style):
    masks = np.zeros((4, 48, 64), bool)
    masks[1:3, :, 20:] = True
    still = [pan[0]] * 4
    plain = pan[0] / np.float32(255)
    result = jaxnst.video(still, style, masks=[masks], **QUICK)
    changes = np.abs(frames_of(result) - plain)
    assert changes[0].max() == changes[3].max() == 0
    # What the mask takes in is painted though it stands still, but only once.
    assert changes[1][:, 40:].mean() > 0.02
    assert np.array_equal(changes[1], changes[2])
    clear = [np.dstack([pan[0], levels(mask)]) for mask in masks]
    clear[2] = pan[0]  # without an opacity: all of it is seen
    result = jaxnst.video(clear, style, masks=["alpha"], **QUICK)
    opacities = [alpha for _, alpha in result._frames_fn()]
    assert opacities[2] is None
    assert [a.mean() > 0 for a in opacities if a is not None] == [False, True, False]
    strengths = np.array([0, 0.4, 0.9])[:, None, None] * np.ones((48, 64))
    several: dict[str, Any] = QUICK | {"frame_steps": 12}
    result = jaxnst.video(still[:3], style, strength=strengths, **several)
    changes = np.abs(frames_of(result) - plain)
    assert (np.diff(changes.mean((1, 2, 3))) > 0).all()
    assert result.record["settings"]["strength"] == "map"


def test_shots_are_painted_elsewhere_to_the_same_bytes(pan, style):
    cut = [*pan[:2], *[levels(picture(48, 64, seed=7))] * 2]
    here = jaxnst.video(cut, style, **QUICK)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        there = jaxnst.video(cut, style, executor=pool, **QUICK)
    assert np.array_equal(frames_of(here), frames_of(there))
    assert [row["frame"] for row in there.rows] == [0, 1, 2, 3]


def test_what_was_painted_elsewhere_is_gone_on_with_here(pan, style, tmp_path):
    """Passes and a loop of several shots, stopped within a shot."""
    cut = [*pan[:2], *[levels(picture(48, 64, seed=7))] * 2]
    settings: dict[str, Any] = QUICK | {"cuts": [2], "passes": 2, "loop": True}
    with pytest.warns(UserWarning, match="`loop` has no effect"):
        here = jaxnst.video(cut, style, **settings)
    output = tmp_path / "out.mkv"
    with (
        concurrent.futures.ThreadPoolExecutor(1) as pool,
        pytest.warns(UserWarning, match="`loop` has no effect"),
    ):
        part = jaxnst.video(
            cut,
            style,
            output=output,
            executor=pool,
            callback=lambda row: row["frame"] == 1,
            **settings,
        )
    assert len(part) == 2
    with pytest.warns(UserWarning, match="`loop` has no effect"):
        whole = jaxnst.video(cut, style, output=output, keep=True, **settings)
    assert np.array_equal(frames_of(here), frames_of(whole))
    assert whole.record["result"]["steps"] == here.record["result"]["steps"]


def test_ctrl_c_stops_where_no_steps_are_made(pan, style, interruptible):
    def interrupt(_):
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(jaxnst.VideoInterrupted) as caught:
        jaxnst.video(pan, style, color="palette-only", callback=interrupt, **QUICK)
    assert caught.value.result is not None
    assert len(caught.value.result) == 1


def test_memory_that_is_scarce_by_now_keeps_no_run_from_going_on(
    pan, style, tmp_path, monkeypatch
):
    output = tmp_path / "out.mp4"
    settings: dict[str, Any] = QUICK | {"output": output}
    jaxnst.video(pan, style, callback=lambda _: True, **settings)
    monkeypatch.setattr("jaxnst.videos.jobs.choose_memory", lambda *_, **__: "low")
    assert len(jaxnst.video(pan, style, **settings)) == len(pan)


def test_where_memory_runs_out_a_clip_goes_on_at_the_next_level(
    pan, style, tmp_path, monkeypatch
):
    usual = frames_of(jaxnst.video(pan, style, **QUICK))
    needs = {"fast": 3, "balanced": 2, "low": 1}
    monkeypatch.setattr(memory, "needed_memory", lambda plan, _: needs[plan.memory])
    count = itertools.count(1)

    def run(*args, failing=(3,), **options):
        if next(count) in failing:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return run_size(*args, **options)

    whole = tmp_path / "whole.mkv"
    with monkeypatch.context() as patch:
        patch.setattr(painting, "run_size", run)
        result = jaxnst.video(pan, style, output=whole, keep=True, **QUICK)
    taken = [row["memory"] for row in result.rows]
    assert taken == ["fast"] * 3 + ["balanced"] * 2
    assert result.record["result"]["memory"] == "balanced"
    assert np.abs(frames_of(result) - usual).mean() < 1e-3
    # Killed behind it, the run goes on at that level.
    part = tmp_path / "part.mkv"
    count = itertools.count(1)
    with monkeypatch.context() as patch:
        patch.setattr(painting, "run_size", run)
        stop_fn = lambda row: row["frame"] == 3  # noqa: E731
        jaxnst.video(pan, style, output=part, callback=stop_fn, **QUICK)
    jaxnst.video(pan, style, output=part, keep=True, **QUICK)
    parts = [tmp_path / f"{name}.mkv.frames" for name in ("whole", "part")]
    assert files_of(parts[0]) == files_of(parts[1])
    count = itertools.count(1)
    failing = functools.partial(run, failing=range(9))
    monkeypatch.setattr(painting, "run_size", failing)
    for level, last, tries in (("auto", "low", 3), ("fast", "fast", 1)):
        count = itertools.count(1)
        with pytest.raises(jaxnst.OutOfMemory, match=f"ran out .* memory='{last}'"):
            jaxnst.video(pan, style, memory=level, **QUICK)
        assert next(count) == 1 + tries


def test_a_worker_that_dies_is_told(pan, style):
    class Dying(concurrent.futures.Executor):
        def submit(self, fn, /, *args, **kwargs):
            del fn, args, kwargs
            future: concurrent.futures.Future = concurrent.futures.Future()
            future.set_exception(concurrent.futures.BrokenExecutor())
            return future

    with pytest.raises(RuntimeError, match="the same call again goes on"):
        jaxnst.video(pan, style, executor=Dying(), **QUICK)


def test_shots_are_painted_side_by_side_to_the_same_bytes(pan, style, monkeypatch):
    """As on two devices, each in a thread of its own; here both are the same one."""
    cut = [*pan[:2], *[levels(picture(48, 64, seed=seed)) for seed in (7, 8)]]
    settings: dict[str, Any] = QUICK | {"cuts": [2, 3]}
    one = jaxnst.video(cut, style, **settings)
    devices = [jax.local_devices()[0]] * 2
    monkeypatch.setattr("jaxnst.videos.runner.usable_devices", lambda: devices)
    two = jaxnst.video(cut, style, **settings)
    assert np.array_equal(frames_of(one), frames_of(two))
    assert [row["shot"] for row in two.rows] == [0, 0, 1, 2]

    def fail(*_):
        raise RuntimeError("no flow today")

    with pytest.raises(RuntimeError, match="no flow today"):
        jaxnst.video(cut, style, flow=fail, **settings)


def test_other_flows(pan, style, tmp_path):
    calls = []

    def flow(one, other):
        calls.append(1)
        found = np.zeros((*one.shape[:2], 2), np.float32)
        found[..., 0] = 2 if len(calls) % 2 else -2
        return found

    jaxnst.video(pan[:3], style, flow=flow, **QUICK)
    assert len(calls) == 4
    cv2 = pytest.importorskip("cv2")
    for one, other in itertools.permutations(range(3), 2):
        found = np.zeros((24, 32, 2), np.float32)
        found[..., 0] = other - one
        path = tmp_path / f"{one}_{other}.flo"
        cv2.writeOpticalFlow(str(path), found)
    result = jaxnst.video(pan[:3], style, flow=f"{tmp_path}/%d_%d.flo", **QUICK)
    assert result.rows[1]["certainty"] > 0.9
    with pytest.raises(FileNotFoundError, match=r"no such file: .*3_2\.flo"):
        jaxnst.video(
            pan, style, flow=f"{tmp_path}/%d_%d.flo", callback=calls.append, **QUICK
        )
    assert len(calls) == 4  # before anything was painted
    nothing = jaxnst.video(pan[:3], style, flow=None, **QUICK)
    assert nothing.rows[1]["certainty"] == 1
    with pytest.raises(ValueError, match=r"`flow` is 'dsi'\. Did you mean 'dis'"):
        jaxnst.video(pan, style, flow="dsi", **QUICK)
    with pytest.raises(ValueError, match="must return finite numbers of shape"):
        jaxnst.video(pan, style, flow=lambda one, other: one, **QUICK)
    own = MemoryError("of the user's flow")

    def run_out(one, other):
        raise own

    with pytest.raises(MemoryError) as caught:
        jaxnst.video(pan, style, flow=run_out, **QUICK)
    assert caught.value is own


def test_files_of_flows(tmp_path):
    cv2 = pytest.importorskip("cv2")
    folder = tmp_path / "50% flow"
    folder.mkdir()
    flow = np.random.default_rng(0).normal(size=(24, 32, 2)).astype(np.float32)
    path = folder / "0003_4.flo"
    cv2.writeOpticalFlow(str(path), flow)
    pattern = f"{folder}/%04d_%d.flo"
    np.testing.assert_array_equal(read_flow(pattern, 3, 4, (24, 32)), flow)
    whole = path.read_bytes()
    for cut in (whole[:-4], whole + b"0000", whole[:8], b"", b"FIEH" + whole[4:]):
        path.write_bytes(cut)
        with pytest.raises(ValueError, match=r"0003_4\.flo is no flow that can be"):
            read_flow(pattern, 3, 4, (24, 32))
    for unknown in (np.nan, np.inf, 1e10):
        flow[5, 6] = unknown
        cv2.writeOpticalFlow(str(path), flow)
        with pytest.raises(ValueError, match="has places where the flow is not known"):
            read_flow(pattern, 3, 4, (24, 32))


def test_colors_filters_and_recoloring(pan, style):
    result = jaxnst.video(pan, style, color="luminance", finish="sharpen", **QUICK)
    settings: dict[str, Any] = PICTURE | {"color": "luminance", "finish": "sharpen"}
    one = jaxnst.stylize(pan[0], style, **settings).image
    assert np.abs(frames_of(result)[0] - one).max() < 1e-4
    palette = jaxnst.video(pan, style, color="palette-only", **QUICK)
    assert {row["steps"] for row in palette.rows} == {0}
    equal = frames_of(jaxnst.video([pan[0]] * 2, style, color="palette-only", **QUICK))
    assert np.array_equal(*equal)
    plain = jaxnst.video(pan, style, strength=0, **QUICK)
    assert np.abs(frames_of(plain) - np.stack(pan) / 255).max() < 1e-4


def test_a_warp_moves_pixels_and_keeps_a_constant(rng):
    image = picture(40, 48, seed=3)
    flow = np.zeros((40, 48, 2), np.float32)
    assert np.array_equal(warp(image, flow), image)
    flow[..., 0], flow[..., 1] = 3, -2
    assert np.allclose(warp(image, flow)[2:, :-3], image[:-2, 3:], atol=1e-6)
    constant = np.full((40, 48, 3), 0.3, np.float32)
    flow = rng.normal(0, 2, flow.shape).astype(np.float32)
    assert np.allclose(warp(constant, flow), 0.3, atol=1e-5)


def test_what_is_covered_is_found():
    """A disc moves over a background that moves the other way."""
    big = picture(150, 220, seed=5)
    noise = np.random.default_rng(0).normal(0, 0.1, big.shape)
    big = np.clip(big + noise, 0, 1).astype(np.float32)
    other = np.clip(picture(150, 220, seed=6) + noise[::-1], 0, 1).astype(np.float32)

    def scene(step):
        down, across = np.mgrid[0:120, 0:180]
        disc = (down - 60) ** 2 + (across - 70 - 6 * step) ** 2 < 30**2
        back = big[10:130, 20 + step : 200 + step]
        front = other[10:130, 20 - 6 * step : 200 - 6 * step]
        return np.where(disc[..., None], front, back), disc

    (before, old), (after, new) = scene(0), scene(1)
    flow = dis_flow(after, before)
    check = check_consistency(flow, dis_flow(before, after))
    certainty, _ = certainty_of(flow, check)
    # Background that the disc covered in the frame before.
    source = np.zeros_like(old)
    source[:, :-1] = old[:, 1:]
    hidden = source & ~new
    seen = ~np.asarray(
        motion.cv2.dilate((source | new).astype(np.uint8), np.ones((9, 9), np.uint8))
    ).astype(bool)
    inner = np.s_[8:-8, 8:-8]
    assert (certainty < 0.5)[inner][hidden[inner]].mean() > 0.75
    assert (certainty < 0.5)[inner][seen[inner]].mean() < 0.06
    assert check_consistency(flow * 0, flow * 0).min() == 1
    # Up to its border the disc goes its own way.
    disc, square = new.astype(np.uint8), np.ones((9, 9), np.uint8)
    border = motion.cv2.dilate(disc, square) > motion.cv2.erode(disc, square)
    way = np.where(new, -6, 1)
    error = np.hypot(flow[..., 0] - way, flow[..., 1])
    assert (error > 1)[border & ~hidden].mean() < 0.05


def test_a_plain_sky_is_seen_though_its_flow_is_noise(rng):
    after = textured(64, 64)
    after[:32] = 0.6
    before = np.roll(after, -1, axis=1)  # what is seen here was one pixel to the left
    flows = [np.zeros((64, 64, 2), np.float32) for _ in range(2)]
    for flow, way in zip(flows, (-1, 1), strict=True):
        flow[..., 0] = way
        flow[:26] += rng.normal(0, 2, (26, 64, 2))
    found = motion.measure_motion(
        after, before, lambda *_: flows[0], lambda *_: flows[1]
    )
    sky = np.s_[4:26, 4:-4]
    assert check_consistency(*flows)[sky].mean() < 0
    assert found.seen[sky].mean() > 0.9
    assert np.abs(found.flow[sky] - (-1, 0)).mean() < 0.2
    # Elsewhere in the sky it does not stand for what was covered.
    before[8:20, 20:40] = rng.random((12, 20, 3))
    found = motion.measure_motion(
        after, before, lambda *_: flows[0], lambda *_: flows[1]
    )
    assert found.seen[11:17, 23:36].mean() < 0.3


def test_one_target_stands_for_several(rng):
    """Its gradient is that of the sum over the frames before."""
    image, one, other = (
        jnp.asarray(rng.random((8, 10, 3)), jnp.float32) for _ in range(3)
    )
    c1 = jnp.asarray(rng.random((8, 10, 1)), jnp.float32)
    c2 = (1 - c1) * 0.5
    total = c1 + c2
    mean = (c1 * one + c2 * other) / total

    def distance(image, target, weight):
        return jnp.sum(weight * jnp.square(image - target))

    folded = jax.grad(distance)(image, mean, total)
    both = jax.grad(lambda x: distance(x, one, c1) + distance(x, other, c2))(image)
    assert np.allclose(folded, both, atol=1e-5)


def test_the_temporal_term_leaves_fine_strokes_free():
    image = jnp.zeros((6, 8, 3))
    board = (np.indices((6, 8)).sum(0) % 2)[..., None] * np.ones(3, np.float32)
    held = Temporal(
        image=jnp.asarray(board - 0.5, jnp.float32),
        certainty=jnp.ones((3, 4, 1)),
        scale=jnp.float32(0.25),
        rates=jnp.ones((6, 8, 1)),
    )
    assert float(_temporal_term(image, held)) < 1e-12
    moved = held._replace(image=jnp.full((6, 8, 3), 0.5))
    assert np.isclose(float(_temporal_term(image, moved)), 1)


def test_bad_settings_are_one_line_each(pan, style):
    for settings, message in (
        ({"steadiness": 2}, "`steadiness` must be between 0 and 1, got 2"),
        ({"reach": (3, 1)}, "`reach` must be growing numbers"),
        ({"frame_steps": 0}, "`frame_steps` must be at least 1"),
        ({"start": 9.0}, "`start` names 9 s, but clip ends after 5 frames, 0.20 s"),
        ({"stop": 99}, "`stop` names frame 99, but clip ends after 5 frames"),
        ({"start": 3, "stop": 2}, "is not after `start`"),
        ({"every": 5}, "leave 1 frame; leave two or more"),
        ({"cuts": [77]}, "`cuts` names frame 77, but clip ends"),
        ({"max_seconds": 3}, "`max_seconds` is only for single pictures"),
        ({"tile": True}, "`tile` is only for single pictures"),
        ({"frame_stepz": 3}, "'frame_stepz' is no setting of `video`. Did you mean"),
    ):
        given: dict[str, Any] = QUICK | settings
        with pytest.raises((ValueError, TypeError)) as caught:
            jaxnst.video(pan, style, **given)
        assert message in str(caught.value)


def test_a_result_is_saved_again(pan, style, tmp_path):
    result = jaxnst.video(pan[:2], style, **QUICK)
    path = result.save(tmp_path / "again.mkv", codec="ffv1")
    found = [each.rgb for each in open_clip(path).frames()]
    assert np.abs(np.stack(found) - frames_of(result)).max() < 1.5 / 255


def test_settings_over_time_as_text_and_in_a_record(pan, style):
    def parse(text):
        return _parse_over_time(text, name="strength")

    assert parse("0:0.2; 3.5s:0.9;") == {0: 0.2, 3.5: 0.9}
    for name in ("clip.mp4", r"C:\maps\s.png", "take:1.png"):
        assert parse(name) == name
    for text, message in (
        ("0:0.2;0.3", "is not MOMENT:VALUE"),
        ("0:0.2;x:0.3", "'x' is neither a frame, as 48, nor a time"),
        ("0:0.2;0:0.3", "names a moment twice"),
    ):
        with pytest.raises(ValueError, match=message):
            parse(text)
    weights = {0: 1.0, 3: 2.0}
    record = jaxnst.video(pan, style, style_weight=weights, **QUICK).record
    assert settings_of_clip(record)[0]["style_weight"] == weights
    assert "style_weight" not in settings_of_clip(record, ["strength"])[0]
