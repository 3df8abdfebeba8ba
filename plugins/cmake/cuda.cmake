# libedgekit_plugins.so. EDGEKIT_ARCHS is settled before CMake looks at nvcc, which it tries on one of them.

if(NOT CMAKE_CUDA_COMPILER)
  find_program(CMAKE_CUDA_COMPILER nvcc HINTS ENV CUDACXX PATHS /usr/local/cuda/bin REQUIRED)
endif()
execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-arch OUTPUT_VARIABLE listed COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[0-9]+" known "${listed}")
string(REGEX MATCHALL "[^ ,;]+" archs "${EDGEKIT_ARCHS}")
if(archs)
  foreach(arch IN LISTS archs)
    if(NOT arch IN_LIST known)
      message(FATAL_ERROR "expected EDGEKIT_ARCHS that ${CMAKE_CUDA_COMPILER} knows (${known}), found ${arch}")
    endif()
  endforeach()
else()
  foreach(arch 75 80 86 87 89 90 110 120)
    if(arch IN_LIST known)
      list(APPEND archs ${arch})
    endif()
  endforeach()
endif()

# Code for each, and PTX of the newest for GPUs that are newer still.
list(SORT archs COMPARE NATURAL)
list(POP_BACK archs newest)
list(TRANSFORM archs APPEND "-real")
set(CMAKE_CUDA_ARCHITECTURES ${archs} ${newest})
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)

# Where nvcc really is: the name may be a link or a script.
execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --dryrun -c x.cu ERROR_VARIABLE steps OUTPUT_QUIET)
if(steps MATCHES "#\\$ TOP=([^\r\n]+)")
  get_filename_component(toolkit ${CMAKE_MATCH_1} REALPATH)
  if(NOT EXISTS ${toolkit}/lib64 AND EXISTS ${toolkit}/lib)
    string(APPEND CMAKE_CUDA_FLAGS " -L\"${toolkit}/lib\"")
  endif()
endif()
enable_language(CUDA)

add_library(edgekit_plugins SHARED ${kernels} ${logic})
target_include_directories(edgekit_plugins PRIVATE ${includes})
target_compile_options(edgekit_plugins PRIVATE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra>
  $<$<COMPILE_LANGUAGE:CUDA>:-lineinfo;-Xcompiler=-Wall,-Wextra>)
limit_exports(edgekit_plugins)
