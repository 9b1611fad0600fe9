# Compile options of our own programs. Users of moe::moe never get them.
add_library(moe_own INTERFACE)
target_link_libraries(moe_own INTERFACE moe::moe)
set(moe_warnings -Wall -Wextra -Wpedantic -Wconversion -Wshadow)
if(NOT OpenMP_CXX_FOUND)
  list(APPEND moe_warnings -Wno-unknown-pragmas)
endif()
target_compile_options(moe_own INTERFACE ${moe_warnings} $<$<BOOL:${MOE_WERROR}>:-Werror>
                                         $<$<BOOL:${MOE_NATIVE}>:-march=native>)

# With a precompiled header g++ gives these warnings for its own intrinsics and strings, so they are
# off there. Programs of one source use no precompiled header and keep all warnings.
set(moe_precompiled_options "")
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  set(moe_precompiled_options -Wno-uninitialized -Wno-maybe-uninitialized -Wno-array-bounds
      -Wno-restrict -Wno-stringop-overflow -Wno-stringop-overread)
endif()

# Matrix products, compiled once for all sources with a precompiled header that has products.hpp.
set(moe_products "${CMAKE_CURRENT_LIST_DIR}/precompiled")
add_library(moe_products STATIC EXCLUDE_FROM_ALL "${moe_products}/products.cpp")
target_link_libraries(moe_products PRIVATE moe_own)
set_target_properties(moe_products PROPERTIES CXX_EXTENSIONS OFF)

# Uses the whole library as a precompiled header, for targets of several sources. Without it each
# source would spend an eighth to a fifth of its compile time on reading the library. Another test
# checks that headers include what they use.
function(moe_precompile target)
  if(NOT TARGET moe_precompiled)
    file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/precompiled.cpp" CONTENT "")
    add_library(moe_precompiled OBJECT "${PROJECT_BINARY_DIR}/precompiled.cpp")
    target_link_libraries(moe_precompiled PRIVATE moe_own)
    target_compile_options(moe_precompiled PRIVATE ${moe_precompiled_options})
    target_precompile_headers(moe_precompiled PRIVATE <moe/moe.hpp> "${moe_products}/products.hpp")
    set_target_properties(moe_precompiled PROPERTIES CXX_EXTENSIONS OFF)
  endif()
  target_compile_options(${target} PRIVATE ${moe_precompiled_options})
  target_precompile_headers(${target} REUSE_FROM moe_precompiled)
endfunction()

# Compiles the models of a target in groups of three, as one source each: what models have in common
# is then compiled once for three.
function(moe_join target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 3)
endfunction()

# moe_add_program(target source...): adds an executable with our compile options.
function(moe_add_program target)
  add_executable(${target} ${ARGN})
  target_link_libraries(${target} PRIVATE moe_own moe_products)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
endfunction()
