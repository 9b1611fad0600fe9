# moe_add_model(target CONFIG config.json [NAME name] [NAMESPACE namespace]): reads the config.json
# of a Hugging Face model (gpt2, llama, mixtral) and gives `target` a header NAME.hpp with
#   inline constexpr moe::ModelConfig NAME{...};
# NAME is TARGET_config when it is not given. CMake runs again when the file changes. What the
# library does not compute is refused, as read_hugging_face_config refuses it; norm_eps and
# rope_theta are numbers of run time: moe::hugging_face_options.
#
#   add_executable(chat main.cpp)                                      # #include <smollm.hpp>
#   target_link_libraries(chat PRIVATE moe::moe)
#   moe_add_model(chat CONFIG smollm/config.json NAME smollm)

# The helpers read `json` and `path` of moe_add_model, which calls them.
function(_moe_model_fail)
  list(JOIN ARGV "" why)
  message(FATAL_ERROR "moe_add_model: cannot use '${path}': ${why}; use a checkpoint of GPT-2, "
                      "Llama or Mixtral")
endfunction()

# _moe_model_get(variable key): the type of a field in `variable`_type, NULL when it is absent, and
# its value in `variable`.
function(_moe_model_get variable key)
  string(JSON type ERROR_VARIABLE absent TYPE "${json}" ${key})
  if(NOT absent STREQUAL "NOTFOUND")
    set(type NULL)
  endif()
  set(value "missing")
  if(NOT type STREQUAL "NULL")
    string(JSON value GET "${json}" ${key})
  endif()
  set(${variable} "${value}" PARENT_SCOPE)
  set(${variable}_type ${type} PARENT_SCOPE)
endfunction()

# _moe_model_integer(variable key [fallback])
function(_moe_model_integer variable key)
  _moe_model_get(value ${key})
  # Also 1e+05, which is read as 100000.0: some writers make that of an integer.
  if(value_type STREQUAL "NUMBER" AND value MATCHES "^([1-9][0-9]*)\\.0*$")
    set(value ${CMAKE_MATCH_1})
  endif()
  if(value_type STREQUAL "NULL" AND ARGC GREATER 2)
    set(value ${ARGV2})
  elseif(NOT value_type STREQUAL "NUMBER" OR NOT value MATCHES "^[1-9][0-9]*$" OR
         value GREATER 2147483647)
    _moe_model_fail("${key} is ${value} where an integer from 1 on is expected")
  endif()
  set(${variable} ${value} PARENT_SCOPE)
endfunction()

# _moe_model_boolean(variable key fallback): true or false.
function(_moe_model_boolean variable key fallback)
  _moe_model_get(value ${key})
  if(value_type STREQUAL "NULL")
    set(value ${fallback})
  elseif(NOT value_type STREQUAL "BOOLEAN")
    _moe_model_fail("${key} is ${value} where true or false is expected")
  elseif(value)
    set(value true)
  else()
    set(value false)
  endif()
  set(${variable} ${value} PARENT_SCOPE)
endfunction()

# _moe_model_require(key wanted why): refuses another value than `wanted` or none.
function(_moe_model_require key wanted why)
  _moe_model_boolean(value ${key} ${wanted})
  if(NOT value STREQUAL wanted)
    _moe_model_fail("${key} is ${value} ${why}")
  endif()
endfunction()

# _moe_model_activation(variable key fallback name=enumerator...)
function(_moe_model_activation variable key fallback)
  _moe_model_get(value ${key})
  if(value_type STREQUAL "NULL")
    set(value ${fallback})
  endif()
  foreach(pair IN LISTS ARGN)
    if(pair MATCHES "^(.*)=(.*)$" AND value STREQUAL CMAKE_MATCH_1)
      set(${variable} ${CMAKE_MATCH_2} PARENT_SCOPE)
      return()
    endif()
  endforeach()
  _moe_model_fail("${key} is ${value} and this activation is not supported")
endfunction()

# Refuses rotary positions that are not plain ones.
function(_moe_model_check_rope)
  foreach(key IN ITEMS rope_parameters rope_scaling)
    _moe_model_get(rope ${key})
    if(rope_type STREQUAL "NULL")
      continue()
    elseif(NOT rope_type STREQUAL "OBJECT")
      _moe_model_fail("${key} is ${rope} where an object is expected")
    endif()
    string(REGEX REPLACE "[ \n\r\t]+" " " shown "${rope}")
    string(JSON count LENGTH "${rope}")
    math(EXPR last "${count} - 1")
    foreach(i RANGE 0 ${last})
      if(count EQUAL 0)
        break()
      endif()
      string(JSON name MEMBER "${rope}" ${i})
      string(JSON type TYPE "${rope}" "${name}")
      if(type STREQUAL "NULL")
        continue()
      endif()
      string(JSON value GET "${rope}" "${name}")
      if(type STREQUAL "OBJECT" OR
         (name MATCHES "^(rope_)?type$" AND NOT value STREQUAL "default"))
        _moe_model_fail("${key} is ${shown} and of rotary positions only those of type default "
                        "are supported")
      elseif(name STREQUAL "partial_rotary_factor" AND NOT value EQUAL 1)
        _moe_model_fail("${key} is ${shown} and positions that turn a part of each head are not "
                        "supported")
      endif()
    endforeach()
  endforeach()
  _moe_model_get(part partial_rotary_factor)
  if(NOT part_type STREQUAL "NULL" AND NOT part EQUAL 1)
    _moe_model_fail("partial_rotary_factor is ${part} and positions that turn a part of each head "
                    "are not supported")
  endif()
endfunction()

# The fields of a GPT-2 in `fields`.
function(_moe_model_gpt2)
  _moe_model_require(scale_attn_weights true "and attention without its scale is not supported")
  _moe_model_require(scale_attn_by_inverse_layer_idx false "and this scale is not supported")
  _moe_model_require(add_cross_attention false "and cross attention is not supported")
  _moe_model_integer(vocab vocab_size)
  _moe_model_integer(dim n_embd)
  _moe_model_integer(layers n_layer)
  _moe_model_integer(heads n_head)
  math(EXPR usual "4 * ${dim}")
  _moe_model_integer(hidden n_inner ${usual})
  _moe_model_integer(context n_positions)
  _moe_model_boolean(tied tie_word_embeddings true)
  _moe_model_activation(activation activation_function gelu_new gelu=gelu gelu_new=gelu_tanh
                        gelu_pytorch_tanh=gelu_tanh gelu_fast=gelu_tanh silu=silu swish=silu
                        relu2=relu_squared)
  set(fields vocab=${vocab} dim=${dim} layers=${layers} heads=${heads} hidden=${hidden}
             context=${context} tied=${tied} bias=true norm=moe::Norm::layer
             position=moe::Position::learned activation=moe::Activation::${activation}
      PARENT_SCOPE)
endfunction()

# The fields of a Llama, or with experts of a Mixtral.
function(_moe_model_llama mixtral)
  _moe_model_integer(vocab vocab_size)
  _moe_model_integer(dim hidden_size)
  _moe_model_integer(layers num_hidden_layers)
  _moe_model_integer(heads num_attention_heads)
  _moe_model_integer(hidden intermediate_size)
  _moe_model_integer(context max_position_embeddings)
  _moe_model_boolean(tied tie_word_embeddings false)
  _moe_model_boolean(bias attention_bias false)
  _moe_model_activation(activation hidden_act silu silu=swiglu swish=swiglu gelu=geglu)
  if(mixtral)
    _moe_model_integer(kv_heads num_key_value_heads)
  else()
    _moe_model_integer(kv_heads num_key_value_heads ${heads})
  endif()
  math(EXPR rest "${dim} % ${heads} + ${heads} % ${kv_heads}")
  if(NOT rest EQUAL 0)
    _moe_model_fail("num_attention_heads is ${heads} and heads of this number are not supported")
  endif()
  math(EXPR usual "${dim} / ${heads}")
  _moe_model_integer(head_dim head_dim ${usual})
  if(NOT head_dim EQUAL usual)
    _moe_model_fail("head_dim is ${head_dim} and only hidden_size / num_attention_heads is "
                    "supported")
  endif()
  set(moe "")
  if(mixtral)
    _moe_model_require(attention_bias false "and Mixtral has none")
    _moe_model_integer(experts num_local_experts)
    _moe_model_integer(top_k num_experts_per_tok)
    if(top_k GREATER experts)
      _moe_model_fail("num_experts_per_tok is ${top_k} and num_local_experts is smaller")
    endif()
    _moe_model_integer(window sliding_window ${context})
    if(window LESS context)
      _moe_model_fail("sliding_window is ${window} and attention to less than the context is not "
                      "supported")
    endif()
    set(moe "moe={.experts = ${experts}, .top_k = ${top_k}, .hidden = ${hidden}}")
  else()
    _moe_model_boolean(mlp_bias mlp_bias false)
    if(NOT mlp_bias STREQUAL bias)
      _moe_model_fail("mlp_bias is ${mlp_bias} and biases are supported in attention and mlp "
                      "together only")
    endif()
  endif()
  _moe_model_get(types layer_types)
  if(types_type STREQUAL "ARRAY")
    string(REGEX REPLACE "\"full_attention\"|[][, \n\r\t]" "" others "${types}")
    if(others)
      _moe_model_fail("layer_types holds ${others} and only full_attention is supported")
    endif()
  endif()
  _moe_model_check_rope()
  set(fields vocab=${vocab} dim=${dim} layers=${layers} heads=${heads} kv_heads=${kv_heads}
             hidden=${hidden} context=${context} tied=${tied} bias=${bias} norm=moe::Norm::rms
             position=moe::Position::rope_half activation=moe::Activation::${activation} ${moe}
      PARENT_SCOPE)
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
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${path}")
  file(READ "${path}" json)
  # A byte order mark changes nothing, and NaN and Infinity, which Python writes, are no fields that
  # are read here: as texts they are refused where a number is expected.
  string(ASCII 239 187 191 mark)
  string(REGEX REPLACE "^${mark}" "" json "${json}")
  foreach(i RANGE 1)  # twice: of two in a row the first takes the comma before the second
    string(REGEX REPLACE "([:,[][ \n\r\t]*)(NaN|-?Infinity)([ \n\r\t]*[],}])"
           "\\1\"\\2\"\\3" json "${json}")
  endforeach()
  if(json MATCHES "^version https://git-lfs")
    message(FATAL_ERROR "moe_add_model: cannot use '${path}': it is a pointer of Git LFS and not "
                        "the file itself; run 'git lfs pull' in its folder")
  elseif(json MATCHES "^[ \n\r\t]*<([!]?[Dd][Oo][Cc][Tt][Yy][Pp][Ee] )?[Hh][Tt][Mm][Ll]")
    message(FATAL_ERROR "moe_add_model: cannot use '${path}': it is a web page; download the file "
                        "itself, by its 'raw' or 'resolve' address")
  endif()
  string(JSON length ERROR_VARIABLE error LENGTH "${json}")
  if(NOT error STREQUAL "NOTFOUND" OR NOT json MATCHES "^[ \n\r\t]*{")
    _moe_model_fail("it is no JSON object")
  endif()

  _moe_model_get(quantised quantization_config)
  if(NOT quantised_type STREQUAL "NULL")
    _moe_model_fail("it has a quantization_config and quantised weights are not supported")
  endif()
  _moe_model_get(family model_type)
  if(family STREQUAL "gpt2")
    _moe_model_gpt2()
  elseif(family STREQUAL "llama")
    _moe_model_llama(FALSE)
  elseif(family STREQUAL "mixtral")
    _moe_model_llama(TRUE)
  else()
    _moe_model_fail("model_type is ${family} where gpt2, llama or mixtral is expected")
  endif()

  list(TRANSFORM fields REPLACE "^([a-z_]+)=" "    .\\1 = ")
  list(JOIN fields ",\n" fields)
  set(open "")
  set(close "")
  if(arg_NAMESPACE)
    set(open "namespace ${arg_NAMESPACE} {\n\n")
    set(close "\n}  // namespace ${arg_NAMESPACE}\n")
  endif()
  set(folder "${CMAKE_CURRENT_BINARY_DIR}/moe_models/${target}")
  file(CONFIGURE OUTPUT "${folder}/${arg_NAME}.hpp" @ONLY CONTENT "#pragma once
// Made by moe_add_model from ${path}.
#include <moe/core/config.hpp>

${open}/// The structure of a ${family} model of Hugging Face.
inline constexpr moe::ModelConfig ${arg_NAME}{
${fields}};
${close}")
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "INTERFACE_LIBRARY")
    target_include_directories(${target} INTERFACE "${folder}")
  else()
    target_include_directories(${target} PRIVATE "${folder}")
  endif()
endfunction()
