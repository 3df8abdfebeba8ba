"""What only a GPU can show of EdgekitAttention: that it computes there what is defined, and how fast."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgekit.device import find_gpus
from edgekit.plugins.attention import TYPES, How, attention, problem_of
from edgekit.plugins.emulator import DeviceMemory
from edgekit.reference import Attention
from tests.gpu.on_gpu import OnGpu, library_for_this_gpu, median_ms
from tests.plugins.test_attention import check, made, narrowed

torch = pytest.importorskip("torch")

_SEARCH = find_gpus()
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,  # builds the CUDA library
    pytest.mark.skipif(not _SEARCH.gpus, reason=f"needs an NVIDIA GPU: {_SEARCH.reason}"),
]
# Prefill of one tile, of several, decode whose keys are split, grouped heads, heads of unlike sizes.
SHAPES = [((2, 2), 64, 64), ((4, 2), 150, 300), ((8, 2), 1, 4000), ((6, 1), 5, 700)]


@pytest.fixture(scope="session")
def gpu(workshop) -> OnGpu:
    return OnGpu(library_for_this_gpu(workshop))


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("sizes", [(32, 32), (64, 64), (128, 128), (256, 256), (40, 24)], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_computes_what_is_defined(gpu, shape, sizes, kind):
    check(gpu, made(*shape, sizes), How(kind))


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("capacity", [0, 512], ids=["copies", "in place"])
def test_a_cache(gpu, capacity, kind):
    op = made((4, 2), 3, 3, (64, 64), past=400, causal=True, window_left=300, softcap=20.0)
    check(gpu, op, How(kind, capacity=capacity))


def test_a_hundred_launches_give_the_same_bits(gpu):
    op = narrowed(made((8, 2), 1, 4000, (64, 64)), "FP16")
    first = attention(gpu, op, How("FP16")).o
    for _ in range(100):
        np.testing.assert_array_equal(attention(gpu, op, How("FP16")).o, first)


def launcher(gpu: OnGpu, memory: DeviceMemory, op: Attention) -> Callable[[], None]:
    """Enqueues the op, which has no cache, in FP16, again and again."""
    problem = problem_of(op, How("FP16"))
    problem.q, problem.k, problem.v = (memory.put(array, np.float16) for array in (op.q, op.k, op.v))
    problem.o = memory.allocate(2 * op.q.size)
    workspace = memory.allocate(gpu.plan(problem, gpu.chosen).workspace)
    stream = torch.cuda.current_stream().cuda_stream
    return lambda: gpu.launch(problem, gpu.chosen, workspace, stream)


@pytest.mark.parametrize("keys", [256, 1024, 4096])
def test_decode_is_as_fast_as_torchs(gpu, keys, record_property):
    """One query of 32 heads over 8 of the cache, FP16, beside torch's own scaled_dot_product_attention."""
    op = made((32, 8), 1, keys, (128, 128))
    q, k, v = (torch.from_numpy(array).cuda().half() for array in (op.q, op.k, op.v))
    sdpa = torch.nn.functional.scaled_dot_product_attention
    with torch.inference_mode():
        torchs = median_ms(lambda: sdpa(q, k, v, enable_gqa=True))
    with gpu.memory() as memory:
        ours = median_ms(launcher(gpu, memory, op))
    record_property("ratio", ours / torchs)
    print(f"decode over {keys} keys: {ours:.4f} ms, torch {torchs:.4f} ms")
    assert ours <= torchs
