"""`python -m core bench`: speed and memory of networks, renderer and sampling on this machine."""

from typing import Annotated, Literal

from typer import Argument, Option

from core.errors import SettingsError


def bench(
    system: Annotated[Literal["vectors", "people", "aging", "faces"] | None, Argument(
        help="vectors: the network against a plain implementation. people: sampling identities. aging: training and "
             "sampling at the size of Stable Diffusion, on a GPU. faces: the renderer, by stage.",
        show_default=False)] = None,
    pictures: Annotated[int, Option(min=1, max=10_000, help="Number of pictures to time.")] = 32,
    preset: Annotated[Literal["tiny", "base"] | None, Option(help="One size only.", show_default=False)] = None,
    seconds: Annotated[float, Option(min=0, help="Seconds per batch size.")] = 10,
    threads: Annotated[int | None, Option(min=1, help="CPU threads. With 1, processor time is measured, "
                                                      "which a busy machine hardly affects.",
                                     show_default=False)] = None,
    most: Annotated[int, Option(min=1000, help="Largest number of people, in powers of ten.")] = 10_000,
) -> None:
    """Measure drawn faces per second, and milliseconds per picture of `vectors`, alone and in batches.

    `bench vectors` compares the network with a plain implementation of its equations at equal output; on a CUDA device
    also float32 with bfloat16 as a CUDA graph. `bench aging` times training steps and pictures with networks of Stable
    Diffusion's size, on a GPU. `bench people` times sampling people at a threshold of 0.3 and prints the growth of time
    and memory. `bench faces` prints the processor time of a drawn face, by stage.
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
    """Print drawn faces per second and milliseconds per picture."""
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
    """Print the speed of the network of `vectors` against its plain implementation."""
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
    """Print seconds, memory and draws for 1,000 people, 10,000 and so on up to `most`."""
    from core.bench import people

    print(people.ABOUT)
    before = None
    for row in people.sampled([count for count in people.COUNTS if count <= most]):
        print(f"{row.people:9,} people  {row.seconds:9.2f} s  {row.memory / 1e6:7.0f} MB  {row.draws:9,} draws"
              f"{people.growth(before, row)}", flush=True)
        before = row
    print(people.shipped(people.COUNTS[0]))


def drawn() -> None:
    """Print the processor time of a drawn face in milliseconds, in total and by stage."""
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
    """Print the cost of training and sampling with networks of Stable Diffusion's size."""
    import torch

    from core import hub
    from core.bench import aging

    device = hub.default_device()
    if torch.device(device).type == "cpu":
        raise SettingsError("`bench aging` runs on a GPU, and there is none.",
                            "On a CPU use:  python -m core bench vectors")
    print(f"Stable Diffusion 1.4 in shape, random weights, {aging.SIDE} pixels, on "
          f"{torch.cuda.get_device_name() if torch.device(device).type == 'cuda' else device}")
    for row in aging.costs(device):
        memory = "" if row.memory is None else f"  {row.memory / 1e9:5.1f} GB"
        print(f"{row.what:34} {row.seconds:8.3f} s{memory}", flush=True)


def seconds_each(calls) -> float:
    """Mean seconds per picture; `calls` yields the number of pictures of each step, the first step is warm-up."""
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
