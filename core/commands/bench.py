"""bench: what this machine can do, and how much faster the networks are than their equations written down plainly."""

from typing import Annotated, Literal

from typer import Argument, Option

from core.errors import SettingsError


def bench(
    system: Annotated[Literal["vectors", "people", "aging", "faces"] | None, Argument(
        help="vectors: its network against the plain equations. people: new ones, by the thousand. aging: lessons and "
             "pictures with networks as large as Stable Diffusion's, for a GPU. faces: the drawn ones, by stage.",
        show_default=False)] = None,
    pictures: Annotated[int, Option(min=1, max=10_000, help="How many pictures to time.")] = 32,
    preset: Annotated[Literal["tiny", "base"] | None, Option(help="One size only.", show_default=False)] = None,
    seconds: Annotated[float, Option(min=0, help="How long to compare at each batch size.")] = 10,
    threads: Annotated[int | None, Option(min=1, help="CPU threads; with one, processor time is measured, "
                                                      "so a busy machine hardly matters.", show_default=False)] = None,
    most: Annotated[int, Option(min=1000, help="How many people to go up to, by tens: 100,000 take minutes.")] = 10_000,
) -> None:
    """Time this machine: drawn faces a second, and milliseconds per picture of `vectors`, alone and in batches.

    `bench vectors` times the network against a plain transcription of its equations at equal output, and, where there
    is a CUDA device, float32 against bfloat16 as one CUDA graph. `bench aging` times lessons and pictures with networks
    as large as Stable Diffusion's, on a GPU. `bench people` times sampling people at a threshold of 0.3, and says how
    time and memory grow from one number of them to ten times as many. `bench faces` prints the processor time of a
    drawn face on one thread, and of each stage.
    """
    if system == "faces":
        drawn()
        return
    import torch

    if threads:
        torch.set_num_threads(threads)
    if system is None:
        machine(pictures)
    elif system == "people":
        crowds(most)
    elif system == "aging":
        large()
    else:
        compare((preset,) if preset else ("tiny", "base"), seconds)


def machine(pictures: int) -> None:
    """What this machine can do, printed."""
    import torch

    from core import hub, sampling
    from core.kernels.attention import kernel_for

    generator = hub.load("vectors-tiny")
    device = next(generator.parameters()).device
    vectors = sampling.randn(range(pictures), (512,)).to(device)
    size = generator.config.width // generator.config.heads
    print(f"device {device} · {torch.get_num_threads()} threads · attention {kernel_for(device, torch.float32, size)}")
    print(f"drawn faces    {1 / seconds_each(_drawing(pictures)):8.1f} a second, one after another, 128 pixels")
    for batch in (1, 8):
        print(f"vectors, batch {batch}  {1000 * seconds_each(_pictures(generator, vectors, batch)):6.1f} ms a picture")


def compare(presets: tuple[str, ...], seconds: float) -> None:
    """The network of `vectors` against its plain twin, printed line by line."""
    import torch

    from core.bench import cuda, vectors

    count = torch.get_num_threads()
    print(f"float32 on a CPU, {count} thread{'s' * (count > 1)}: milliseconds a picture, medians")
    for preset in presets:
        for row in vectors.against_plain(preset, seconds=seconds):
            print(f"{row.preset:5} batch {row.batch:3}  network {row.ours:8.2f}  plain {row.plain:8.2f}  "
                  f"ratio {row.ratio:5.2f}  {row.difference:.0e} apart", flush=True)
        if not torch.cuda.is_available():
            continue
        for row in cuda.speeds(vectors.shipped_or_seeded(preset)):
            print(f"{preset:5} batch {row.batch:3}  {row.form}  {row.images:10.1f} images a second  "
                  f"{row.share:6.1%} of the measured matrix peak", flush=True)


def crowds(most: int) -> None:
    """Seconds, memory and draws for 1,000 people, 10,000 and so on up to `most`, printed line by line."""
    from core.bench import people

    print(people.ABOUT)
    before = None
    for row in people.sampled([count for count in people.COUNTS if count <= most]):
        print(f"{row.people:9,} people  {row.seconds:9.2f} s  {row.memory / 1e6:7.0f} MB  {row.draws:9,} draws"
              f"{people.growth(before, row)}", flush=True)
        before = row
    print(people.shipped(people.COUNTS[0]))


def drawn() -> None:
    """Milliseconds of processor time a drawn face takes, in all and by stage, printed line by line."""
    import os

    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = "1"  # read when NumPy is imported
    from core.bench import faces

    cost = faces.measure()
    print(f"drawn faces, {faces.SIZE} pixels, mean of {faces.LOOKS} ordinary looks, processor time on one thread\n"
          f"a face    {cost.face:7.1f} ms   {1000 / cost.face:.1f} a second a core")
    for stage, milliseconds in cost.stages.items():
        print(f"{stage:9} {milliseconds:7.1f} ms   {milliseconds / cost.face:4.0%}")


def large() -> None:
    """Teaching and drawing with networks of Stable Diffusion's shape, printed line by line."""
    import torch

    from core import hub
    from core.bench import aging

    device = hub.default_device()
    if torch.device(device).type == "cpu":
        raise SettingsError("Networks as large as Stable Diffusion's are measured on a GPU.",
                            "Here there is:  python -m core bench vectors")
    print(f"Stable Diffusion 1.4 in shape, random weights, {aging.SIDE} pixels, on "
          f"{torch.cuda.get_device_name() if torch.device(device).type == 'cuda' else device}")
    for row in aging.costs(device):
        memory = "" if row.memory is None else f"  {row.memory / 1e9:5.1f} GB"
        print(f"{row.what:34} {row.seconds:8.3f} s{memory}", flush=True)


def seconds_each(calls) -> float:
    """Mean seconds per picture; `calls` yields how many pictures each step made, and its first step warms up."""
    import time

    next(calls)
    begun = time.perf_counter()
    made = sum(calls)
    return (time.perf_counter() - begun) / made


def _drawing(count: int):
    from core import faces

    for number in range(count + 1):
        identity = faces.person(number, "test")
        faces.draw(faces.Face(identity, faces.look(identity, 0)), size=128)
        yield 1


def _pictures(generator, vectors, batch: int):
    import torch

    with torch.inference_mode():
        generator(vectors[:batch]).cpu()
        yield 0
        for part in vectors.split(batch):
            generator(part).cpu()
            yield len(part)
