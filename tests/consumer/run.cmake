# cmake -D way=find_package|add_subdirectory -D source= -D build= -D generator= -D compiler=
#       -D prefix_path= -P run.cmake: builds and runs this folder as a project of its own.
set(work "${build}/tests/consumer/${way}")
file(REMOVE_RECURSE "${work}")

function(run)
  execute_process(COMMAND ${ARGV} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

set(arguments -S "${source}/tests/consumer" -B "${work}/build" -G "${generator}"
              -D CMAKE_CXX_COMPILER=${compiler} -D CMAKE_BUILD_TYPE=Debug)
if(way STREQUAL find_package)
  run(${CMAKE_COMMAND} --install "${build}" --prefix "${work}/installed")
  run(${CMAKE_COMMAND} ${arguments} "-DCMAKE_PREFIX_PATH=${work}/installed\;${prefix_path}")
else()
  run(${CMAKE_COMMAND} ${arguments} "-DCMAKE_PREFIX_PATH=${prefix_path}" -D moe_source=${source})
endif()
run(${CMAKE_COMMAND} --build "${work}/build")
run("${work}/build/consumer")
