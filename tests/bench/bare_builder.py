"""The peer of `build-engine`: the shortest script that builds an engine, as people write it by hand."""

import time

start = time.perf_counter()

import sys  # noqa: E402

import tensorrt_rtx as trt  # noqa: E402

loaded = time.perf_counter()
source, out, *ranges = sys.argv[1:]
logger = trt.Logger(trt.Logger.ERROR)
builder = trt.Builder(logger)
network = builder.create_network(0)
parser = trt.OnnxParser(network, logger)
with open(source, "rb") as file:  # noqa: PTH123
    assert parser.parse(file.read())
config = builder.create_builder_config()
config.num_compute_capabilities = 1
config.set_compute_capability(trt.ComputeCapability.SM86, 0)
profile = builder.create_optimization_profile()
for text in ranges:  # name:min:opt:max
    name, *shapes = text.split(":")
    profile.set_shape(name, *(tuple(map(int, shape.split("x"))) for shape in shapes))
config.add_optimization_profile(profile)
with open(out, "wb") as file:  # noqa: PTH123
    file.write(builder.build_serialized_network(network, config))
end = time.perf_counter()
print(end - loaded, end - start)
