# cmake -D source= -D build= -D generator= -D compiler= -D prefix_path= -P run.cmake: tests that
# simple_moe writes a header for a structure that is not compiled in, and that the program can be
# built for it and trains it; with --build and --model it does all that by itself.
set(work "${build}/tests/custom_model")
file(REMOVE_RECURSE "${work}")
file(MAKE_DIRECTORY "${work}")
string(REPEAT "the bird sang in the old tree near her house all day\n" 200 text)
file(WRITE "${work}/text.txt" "${text}")
set(options --data "${work}/text.txt" --threads 1 --no-progress --no-plots
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

run(3 "${build}/lab/simple_moe" --preset tiny --dim 48 --heads 3 --out "${work}/own" ${options})
run(0 ${CMAKE_COMMAND} -S "${source}" -B "${work}/build" -G "${generator}"
      -D "CMAKE_CXX_COMPILER=${compiler}" -D "CMAKE_PREFIX_PATH=${prefix_path}"
      -D CMAKE_BUILD_TYPE= -D MOE_BUILD_TESTS=OFF -D MOE_BUILD_EXAMPLES=OFF
      -D MOE_BUILD_BENCHMARKS=OFF -D "MOE_LAB_BF16=^custom$"
      -D "MOE_LAB_MODEL=${work}/own/model.hpp")
run(0 ${CMAKE_COMMAND} --build "${work}/build" --target simple_moe_custom)
set(custom "${work}/build/lab/simple_moe_custom")

# check(FOLDER DIM HEADS): ends the test when another model was trained there.
function(check folder dim heads)
  file(READ "${work}/${folder}/results.json" results)
  string(JSON found_dim GET "${results}" config d_model)
  string(JSON found_heads GET "${results}" config n_heads)
  string(JSON updates GET "${results}" budget updates)
  if(NOT "${found_dim} ${found_heads} ${updates}" STREQUAL "${dim} ${heads} 2")
    message(FATAL_ERROR "${folder}: trained dim ${found_dim}, ${found_heads} heads, ${updates} "
                        "updates, not ${dim}, ${heads}, 2")
  endif()
endfunction()

run(0 "${custom}" --preset custom --dry-run --out "${work}/own" ${options})
if(NOT out MATCHES "model custom")
  message(FATAL_ERROR "the plan is not of the custom model:\n${out}")
endif()
run(0 "${custom}" --preset custom --out "${work}/own" ${options})
check(own 48 3)
run(0 "${custom}" --preset custom --precision bf16 --out "${work}/half" ${options})
check(half 48 3)
# What follows needs no bf16, which would be compiled each time.
run(0 ${CMAKE_COMMAND} -D "MOE_LAB_BF16=^$" "${work}/build")
# The program builds itself anew for another structure, and for a header.
run(0 "${custom}" --build --preset tiny --dim 32 --heads 2 --out "${work}/other" ${options})
check(other 32 2)
run(0 "${custom}" --model "${work}/own/model.hpp" --out "${work}/again" ${options})
check(again 48 3)
