# libedgekit_emu.so and, when asked for, a program of the user's.

add_library(emulator OBJECT ${emulator})
target_include_directories(emulator PUBLIC ${includes})
# -Wno-unknown-pragmas: `#pragma unroll` is for nvcc. -fno-strict-aliasing: kernels read memory in wider words.
target_compile_options(emulator PUBLIC -O2 -g -fno-omit-frame-pointer -fno-strict-aliasing -Wall -Wextra
                       -Wno-unknown-pragmas)

# The C library makes a system call at each switch between CUDA threads; Boost makes none.
find_path(EDGEKIT_BOOST_INCLUDE boost/context/detail/fcontext.hpp)
find_library(EDGEKIT_BOOST_CONTEXT boost_context)
if(EDGEKIT_BOOST_INCLUDE AND EDGEKIT_BOOST_CONTEXT)
  target_include_directories(emulator SYSTEM PUBLIC ${EDGEKIT_BOOST_INCLUDE})
  target_compile_definitions(emulator PUBLIC EK_HAVE_BOOST_CONTEXT)
  target_link_libraries(emulator PUBLIC ${EDGEKIT_BOOST_CONTEXT})
  message(STATUS "the emulator switches threads with ${EDGEKIT_BOOST_CONTEXT}")
endif()

if(EDGEKIT_SANITIZE STREQUAL "thread")
  set(sanitizers -fsanitize=thread)
elseif(EDGEKIT_SANITIZE STREQUAL "address")
  set(sanitizers -fsanitize=address,undefined -fno-sanitize-recover=undefined)
elseif(EDGEKIT_SANITIZE)
  message(FATAL_ERROR "expected EDGEKIT_SANITIZE to be thread or address, found ${EDGEKIT_SANITIZE}")
endif()
target_compile_options(emulator PUBLIC ${sanitizers})
target_link_options(emulator PUBLIC ${sanitizers})

# g++ does not know what a .cu is; a file that includes it is C++, and leaves the .cu itself to nvcc.
function(as_cpp kernel wrapper)
  get_filename_component(name ${kernel} NAME_WE)
  set(text "#include \"${kernel}\"\n")
  set(file ${CMAKE_CURRENT_BINARY_DIR}/${name}.emu.cpp)
  file(GENERATE OUTPUT ${file} CONTENT "${text}")
  set(${wrapper} ${file} PARENT_SCOPE)
endfunction()

if(EDGEKIT_EMULATOR)
  set(wrappers)
  foreach(kernel IN LISTS kernels)
    as_cpp(${kernel} wrapper)
    list(APPEND wrappers ${wrapper})
  endforeach()
  add_library(edgekit_emu SHARED ${wrappers} ${logic})
  target_link_libraries(edgekit_emu PRIVATE emulator)
  limit_exports(edgekit_emu ek_*)
endif()

if(EDGEKIT_PROGRAM)
  as_cpp(${EDGEKIT_PROGRAM} wrapper)
  add_executable(program ${wrapper})
  target_link_libraries(program PRIVATE emulator)
endif()
