# cmake -D source= -D build= -D generator= -D compiler= -D prefix_path= -P run.cmake: what
# `./dev simple_moe --dim 48` does. A structure that is not compiled in becomes a header, the
# program is built for it, and trains it.
set(work "${build}/tests/custom_model")
file(REMOVE_RECURSE "${work}")
file(MAKE_DIRECTORY "${work}")
string(REPEAT "the bird sang in the old tree near her house all day\n" 200 text)
file(WRITE "${work}/text.txt" "${text}")
set(options --out "${work}/own" --data "${work}/text.txt" --threads 1 --no-progress --no-plots
            --steps 2 --batch 2 --length 16 --eval-every 2)

# run(EXPECTED command...): ends the test when the command gives another exit code.
function(run expected)
  execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE out ERROR_VARIABLE out RESULT_VARIABLE result)
  if(NOT result EQUAL expected)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "${command} gave ${result}, not ${expected}:\n${out}")
  endif()
  set(out "${out}" PARENT_SCOPE)
endfunction()

run(3 "${build}/lab/simple_moe" --preset tiny --dim 48 --heads 3 ${options})
run(0 ${CMAKE_COMMAND} -S "${source}" -B "${work}/build" -G "${generator}"
      -D "CMAKE_CXX_COMPILER=${compiler}" -D "CMAKE_PREFIX_PATH=${prefix_path}"
      -D CMAKE_BUILD_TYPE= -D MOE_BUILD_TESTS=OFF -D MOE_BUILD_EXAMPLES=OFF
      -D MOE_BUILD_BENCHMARKS=OFF
      -D "MOE_LAB_MODEL=${work}/own/model.hpp")
run(0 ${CMAKE_COMMAND} --build "${work}/build" --target simple_moe_custom)
run(0 "${work}/build/examples/simple_moe_custom" --preset custom --dry-run ${options})
if(NOT out MATCHES "model custom")
  message(FATAL_ERROR "the plan is not of the custom model:\n${out}")
endif()
run(0 "${work}/build/examples/simple_moe_custom" --preset custom ${options})
file(READ "${work}/own/results.json" results)
string(JSON dim GET "${results}" config d_model)
string(JSON heads GET "${results}" config n_heads)
string(JSON updates GET "${results}" budget updates)
if(NOT "${dim} ${heads} ${updates}" STREQUAL "48 3 2")
  message(FATAL_ERROR "trained dim ${dim}, ${heads} heads, ${updates} updates, not 48, 3, 2")
endif()
