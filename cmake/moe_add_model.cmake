# moe_add_model(target CONFIG config.json [NAME name] [NAMESPACE namespace]): gives `target` a header
# NAME.hpp with the structure of a Hugging Face model (gpt2, llama, mixtral):
#   inline constexpr moe::ModelConfig NAME{...};
# NAME is TARGET_config when it is not given. The header is made when the target is built, and again
# when the file changes. The program that makes the header reads the file with
# read_hugging_face_json, which refuses a model that the library cannot compute. norm_eps and
# rope_theta are options at run time: moe::hugging_face_options.
#
#   add_executable(chat main.cpp)                                      # #include <smollm.hpp>
#   target_link_libraries(chat PRIVATE moe::moe)
#   moe_add_model(chat CONFIG smollm/config.json NAME smollm)
#
# The program is built with the target. When cross-compiling, give the path of one that runs on this
# machine, -D MOE_CONFIG_TO_CPP=PATH: the target moe_config_to_cpp of a build for this machine.
set(MOE_CONFIG_TO_CPP "" CACHE FILEPATH "The program of moe_add_model; empty: it is built")

# Sets `variable` to the command of that program.
function(_moe_config_to_cpp variable)
  if(MOE_CONFIG_TO_CPP)
    set(${variable} "${MOE_CONFIG_TO_CPP}" PARENT_SCOPE)
    return()
  elseif(CMAKE_CROSSCOMPILING AND NOT CMAKE_CROSSCOMPILING_EMULATOR)
    message(FATAL_ERROR "moe_add_model: cannot build its program: it would run on another machine; build "
                        "the target moe_config_to_cpp for this one and give its path as "
                        "MOE_CONFIG_TO_CPP")
  elseif(NOT TARGET moe_config_to_cpp)
    add_executable(moe_config_to_cpp EXCLUDE_FROM_ALL
                   "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/moe_config_to_cpp.cpp")
    target_link_libraries(moe_config_to_cpp PRIVATE moe::moe)
  endif()
  set(${variable} moe_config_to_cpp PARENT_SCOPE)
endfunction()

function(moe_add_model target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "CONFIG;NAME;NAMESPACE" "")
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_CONFIG)
    message(FATAL_ERROR "moe_add_model: cannot add a model to '${target}': the arguments are not "
                        "understood; call moe_add_model(target CONFIG config.json [NAME name] "
                        "[NAMESPACE namespace])")
  endif()
  if(NOT TARGET ${target})
    message(FATAL_ERROR "moe_add_model: cannot add a model to '${target}': there is no such "
                        "target; call add_executable or add_library before")
  endif()
  if(NOT arg_NAME)
    string(REGEX REPLACE "[^A-Za-z0-9_]" "_" arg_NAME "${target}_config")
  endif()
  if(NOT arg_NAME MATCHES "^[A-Za-z_][A-Za-z0-9_]*$" OR
     NOT "${arg_NAMESPACE}::" MATCHES "^([A-Za-z_][A-Za-z0-9_]*::)*(::)?$")
    message(FATAL_ERROR "moe_add_model: cannot call the model '${arg_NAME}' in namespace "
                        "'${arg_NAMESPACE}': that is no C++ name; give NAME and NAMESPACE letters, "
                        "digits and underscores")
  endif()
  cmake_path(ABSOLUTE_PATH arg_CONFIG BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
             NORMALIZE OUTPUT_VARIABLE path)
  if(NOT EXISTS "${path}" OR IS_DIRECTORY "${path}")
    message(FATAL_ERROR "moe_add_model: cannot read '${path}': there is no such file; give the "
                        "path of a config.json")
  endif()

  set(folder "${CMAKE_CURRENT_BINARY_DIR}/moe_models/${target}")
  set(header "${folder}/${arg_NAME}.hpp")
  file(MAKE_DIRECTORY "${folder}")
  _moe_config_to_cpp(program)
  add_custom_command(OUTPUT "${header}"
                     COMMAND ${program} "${path}" "${header}" ${arg_NAME} ${arg_NAMESPACE}
                     DEPENDS "${path}" ${program} VERBATIM
                     COMMENT "Making ${arg_NAME}.hpp from ${path}")
  add_custom_target(moe_model_${target}_${arg_NAME} ALL DEPENDS "${header}")
  add_dependencies(${target} moe_model_${target}_${arg_NAME})
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "INTERFACE_LIBRARY")
    target_include_directories(${target} INTERFACE "${folder}")
  else()
    target_include_directories(${target} PRIVATE "${folder}")
  endif()
endfunction()
