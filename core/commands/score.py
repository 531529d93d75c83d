"""score: the bars of a system and what it reaches. bench: what this machine can do."""

import json
from typing import Annotated, Literal

from typer import Argument, Exit, Option

System = Literal["embedder", "judge", "vectors"]


def score(
    system: Annotated[System, Argument(help="What to measure.")],
    as_json: Annotated[bool, Option("--json", help="Print JSON for programs.")] = False,
    quick: Annotated[bool, Option(help="A few people only, to see that it runs; the numbers say little.")] = False,
) -> None:
    """Measure a system on test people against its bars; exit status 0 only when all are met."""
    from core import scoring

    found = scoring.score(system, quick)
    print(json.dumps(found, ensure_ascii=False) if as_json else table(found))
    if not all(bar["met"] for bar in found["bars"]):
        raise Exit(1)


def table(found: dict) -> str:
    """The bars as lines of text: name, value, goal, and whether it is met."""
    width = max(len(bar["name"]) for bar in found["bars"])
    return "\n".join(
        f"{bar['name']:<{width}}  {bar['value']:8.4f}  {bar['goal']:<8}  {'met' if bar['met'] else 'NOT MET'}"
        for bar in found["bars"]
    )


def bench(
    pictures: Annotated[int, Option(min=1, max=10_000, help="How many pictures to time.")] = 32,
) -> None:
    """Time this machine: drawn faces a second, and milliseconds per picture of `vectors`, alone and in batches."""
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
