// Plays TensorRT for the wrappers of trt/ on a CPU:
//
//   trt_harness libedgekit_trt.so                    the creators that the library has, with their fields
//   trt_harness libedgekit_trt.so formats CASE       the types of tensors that a plugin takes together
//   trt_harness libedgekit_trt.so run CASE RESULTS   every call from a node's fields to launches; case.h has both files
//
// It ends with 3 and "refused: CALL STATUS" where a plugin refuses, and with 1 where the harness itself finds a fault.
#include <dlfcn.h>

#include <cstring>
#include <exception>
#include <fstream>

#include "edgekit_kernels.h"
#include "trt/harness/memory.h"
#include "trt/harness/session.h"

namespace {

using namespace ek::harness;
using nvinfer1::IPluginCreatorInterface;
using nvinfer1::IPluginCreatorV3One;

int emulated_sm = 87, emulated_multiprocessors = 16;

template <typename Function>
Function* found(void* library, char const* name) {
    auto* const function = reinterpret_cast<Function*>(dlsym(library, name));
    if (!function) throw std::runtime_error(std::string("expected a function ") + name + ", found none");
    return function;
}

std::vector<IPluginCreatorV3One*> creators_of(void* library, nvinfer1::ILoggerFinder& finder) {
    found<void(nvinfer1::ILoggerFinder*)>(library, "setLoggerFinder")(&finder);
    int32_t count = 0;
    auto* const* all = found<IPluginCreatorInterface* const*(int32_t&)>(library, "getCreators")(count);
    std::vector<IPluginCreatorV3One*> creators;
    for (; count > 0; --count, ++all) {
        if (std::strcmp((*all)->getInterfaceInfo().kind, "PLUGIN CREATOR_V3ONE") != 0)
            throw std::runtime_error("expected creators of IPluginV3, found others");
        creators.push_back(static_cast<IPluginCreatorV3One*>(*all));
    }
    return creators;
}

void list(IPluginCreatorV3One& creator) {
    std::printf("%s %s %s", creator.getPluginName(), creator.getPluginVersion(), creator.getPluginNamespace());
    auto const* const fields = creator.getFieldNames();
    for (int32_t i = 0; i < fields->nbFields; ++i)
        std::printf(" %s:%s", fields->fields[i].name, name_of(fields->fields[i].type));
    std::printf("\n");
}

void drive(std::vector<IPluginCreatorV3One*> const& creators, int count, char** arguments) {
    Case const asked = read_case(arguments[3]);
    emulated_sm = asked.sm, emulated_multiprocessors = asked.multiprocessors;
    ek_emu_sm(asked.sm);
    for (auto* creator : creators) {
        if (asked.op != creator->getPluginName()) continue;
        Session session(*creator, asked);
        if (count == 4) return void(std::printf("%s", session.formats().c_str()));
        std::string const results = session.run();
        std::ofstream(arguments[4], std::ios::binary).write(results.data(), std::streamsize(results.size()));
        return;
    }
    throw std::runtime_error("expected a creator of " + asked.op + ", found none");
}

}  // namespace

// Stands before the emulator's own, which has no device: the plugins are told of the one that a case names.
extern "C" int ek_device_current(ek_device* device) {
    return ek_device_limits(emulated_sm, emulated_multiprocessors, device);
}

int main(int count, char** arguments) try {
    if (count < 2) throw std::runtime_error("expected trt_harness LIBRARY [formats CASE | run CASE RESULTS]");
    void* const library = dlopen(arguments[1], RTLD_NOW);
    if (!library) throw std::runtime_error(dlerror());
    LoggerFinder finder;
    auto const creators = creators_of(library, finder);
    if (count < 4)
        for (auto* creator : creators) list(*creator);
    else
        drive(creators, count, arguments);
    return 0;
} catch (Refused const& refused) {
    std::printf("refused: %s\n", refused.what());
    return 3;
} catch (std::exception const& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
