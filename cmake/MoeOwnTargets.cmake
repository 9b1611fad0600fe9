# What our own programs are compiled with, and no user of moe::moe ever is.
add_library(moe_own INTERFACE)
target_link_libraries(moe_own INTERFACE moe::moe)
set(moe_warnings -Wall -Wextra -Wpedantic -Wconversion -Wshadow)
if(NOT OpenMP_CXX_FOUND)
  list(APPEND moe_warnings -Wno-unknown-pragmas)
endif()
target_compile_options(moe_own INTERFACE ${moe_warnings} $<$<BOOL:${MOE_WERROR}>:-Werror>
                                         $<$<BOOL:${MOE_NATIVE}>:-march=native>)

# The whole library as a precompiled header, for targets of several sources: each of these would
# spend a fifth of its time on reading it. That headers include what they use is a test of its own.
function(moe_precompile target)
  if(NOT TARGET moe_precompiled)
    file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/precompiled.cpp" CONTENT "")
    add_library(moe_precompiled OBJECT "${PROJECT_BINARY_DIR}/precompiled.cpp")
    target_link_libraries(moe_precompiled PRIVATE moe_own)
    target_precompile_headers(moe_precompiled PRIVATE <moe/moe.hpp>)
    set_target_properties(moe_precompiled PROPERTIES CXX_EXTENSIONS OFF)
  endif()
  target_precompile_headers(${target} REUSE_FROM moe_precompiled)
endfunction()

# moe_add_program(target source...): an executable with our flags.
function(moe_add_program target)
  add_executable(${target} ${ARGN})
  target_link_libraries(${target} PRIVATE moe_own)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
endfunction()
