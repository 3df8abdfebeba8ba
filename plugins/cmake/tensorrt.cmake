# The TensorRT wrappers of trt/: in libedgekit_plugins.so where TensorRT's headers are, and by themselves over the
# emulated kernels for the harness that drives them on a CPU. No library of TensorRT is linked: its objects come in as
# arguments.
#
# The headers are looked for in TENSORRT_ROOT (of CMake, else of the environment), else where JetPack, Debian's packages
# and a tarball have them.

if(NOT TENSORRT_ROOT)
  set(TENSORRT_ROOT "$ENV{TENSORRT_ROOT}")
endif()
set(places /usr/include/aarch64-linux-gnu /usr/include/x86_64-linux-gnu /usr/local/tensorrt/include)
if(TENSORRT_ROOT)
  set(places ${TENSORRT_ROOT}/include ${TENSORRT_ROOT})
endif()
unset(EDGEKIT_TENSORRT_INCLUDE CACHE)
find_path(EDGEKIT_TENSORRT_INCLUDE NvInferRuntime.h PATHS ${places} NO_DEFAULT_PATH)

if(EDGEKIT_TENSORRT_INCLUDE)
  message(STATUS "TensorRT's headers: ${EDGEKIT_TENSORRT_INCLUDE}")
  file(GLOB wrapped CONFIGURE_DEPENDS trt/*.cpp)
elseif(TENSORRT_ROOT)
  message(FATAL_ERROR "expected TensorRT's headers in TENSORRT_ROOT, found no NvInferRuntime.h in ${TENSORRT_ROOT}")
else()
  message(STATUS "TensorRT's headers were not found (TENSORRT_ROOT): the wrappers are left out")
endif()

function(add_wrappers library)
  target_sources(${library} PRIVATE ${wrapped} ${judged})
  target_include_directories(${library} PRIVATE ${includes})
  target_include_directories(${library} SYSTEM PRIVATE ${EDGEKIT_TENSORRT_INCLUDE})
endfunction()

# Plays TensorRT on a CPU. EDGEKIT_HARNESS is a libedgekit_emu.so, whose kernels it runs; CUDA is not needed, but for
# two names that trt/harness/cuda has.
if(EDGEKIT_HARNESS)
  if(NOT EDGEKIT_TENSORRT_INCLUDE)
    message(FATAL_ERROR "expected TensorRT's headers for the harness, found none; next: cmake -D TENSORRT_ROOT=...")
  endif()
  file(GLOB harness CONFIGURE_DEPENDS trt/harness/*.cpp)
  add_library(edgekit_trt SHARED)
  add_wrappers(edgekit_trt)
  add_executable(trt_harness ${harness})
  target_include_directories(trt_harness PRIVATE ${includes})
  target_include_directories(trt_harness SYSTEM PRIVATE ${EDGEKIT_TENSORRT_INCLUDE})
  foreach(target edgekit_trt trt_harness)
    target_include_directories(${target} SYSTEM PRIVATE trt/harness/cuda)
    target_compile_options(${target} PRIVATE -O1 -g -Wall -Wextra)
    target_link_libraries(${target} PRIVATE ${EDGEKIT_HARNESS})
  endforeach()
  limit_exports(edgekit_trt getCreators setLoggerFinder)
  # The library asks the program which device there is: the emulator has none of its own.
  set_target_properties(trt_harness PROPERTIES ENABLE_EXPORTS ON)
  add_dependencies(trt_harness edgekit_trt)
endif()
