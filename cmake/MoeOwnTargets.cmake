# What our own programs are compiled with, and no user of moe::moe ever is.
add_library(moe_own INTERFACE)
target_link_libraries(moe_own INTERFACE moe::moe)
set(moe_warnings -Wall -Wextra -Wpedantic -Wconversion -Wshadow)
if(NOT OpenMP_CXX_FOUND)
  list(APPEND moe_warnings -Wno-unknown-pragmas)
endif()
target_compile_options(moe_own INTERFACE ${moe_warnings} $<$<BOOL:${MOE_WERROR}>:-Werror>
                                         $<$<BOOL:${MOE_NATIVE}>:-march=native>)

# moe_add_program(target source...): an executable with our flags.
function(moe_add_program target)
  add_executable(${target} ${ARGN})
  target_link_libraries(${target} PRIVATE moe_own)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
endfunction()
