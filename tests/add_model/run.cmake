# cmake -D source= -D build= -D generator= -D program= -P run.cmake: tests moe_add_model on good and
# bad files. `program` is moe_config_to_cpp.
set(work "${build}/tests/add_model")
file(REMOVE_RECURSE "${work}")
file(MAKE_DIRECTORY "${work}")
set(llama [["model_type":"llama","vocab_size":96,"hidden_size":32,"intermediate_size":80,
"num_hidden_layers":2,"num_attention_heads":4,"max_position_embeddings":64]])
set(mixtral "${llama},\"num_key_value_heads\":2,\"num_local_experts\":4,\"num_experts_per_tok\":2")
string(REPLACE "\"llama\"" "\"mixtral\"" mixtral "${mixtral}")
set(gpt2 [["model_type":"gpt2","vocab_size":96,"n_embd":32,"n_layer":2,"n_head":4,
"n_positions":64,"n_inner":null]])
set(failures 0)

# A new file must be younger than the header made from the previous one, or it would not be read. The
# clock of a file system may stand still for some hundredths of a second.
function(write_config text)
  execute_process(COMMAND "${CMAKE_COMMAND}" -E sleep 0.1)
  file(WRITE "${work}/config.json" "${text}")
endfunction()

# make(text): writes the text as config.json, configures and builds; sets `said` to the output.
function(make text)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "target" "more;options")
  if(NOT arg_target)
    set(arg_target chat-bot)
  endif()
  write_config("${text}")
  execute_process(COMMAND ${CMAKE_COMMAND} -S "${source}/tests/add_model" -B "${work}/build"
                          -G "${generator}" -D "moe_source=${source}" -D target=${arg_target}
                          -D "config=${work}/config.json" -D "more=${arg_more}"
                          -D "MOE_CONFIG_TO_CPP=${program}" ${arg_options}
                  OUTPUT_VARIABLE out ERROR_VARIABLE error RESULT_VARIABLE result)
  if(result EQUAL 0)
    execute_process(COMMAND ${CMAKE_COMMAND} --build "${work}/build"
                    OUTPUT_VARIABLE error ERROR_VARIABLE error RESULT_VARIABLE result)
  endif()
  string(REGEX REPLACE "[ \n]+" " " error "${error}")
  set(said "${result} ${error}" PARENT_SCOPE)
endfunction()

macro(fail)
  message("${ARGN}")
  math(EXPR failures "${failures} + 1")
endmacro()

# gives(text header expected...): the build succeeds and the header holds these lines.
function(gives text header)
  make("${text}" more ${more})
  set(path "${work}/build/moe_models/chat-bot/${header}.hpp")
  if(NOT said MATCHES "^0 " OR NOT EXISTS "${path}")
    fail("not made from ${text}: ${said}")
  else()
    file(READ "${path}" made)
    foreach(line IN LISTS ARGN)
      string(FIND "${made}" "${line}" at)
      if(at EQUAL -1)
        fail("no '${line}' in:\n${made}")
      endif()
    endforeach()
  endif()
  set(failures ${failures} PARENT_SCOPE)
endfunction()

# refuses(text reason): the build fails with one sentence that has the file and the reason.
function(refuses text reason)
  make("${text}" ${ARGN})
  string(FIND "${said}" "${reason}" at)
  if(said MATCHES "^0 " OR at EQUAL -1 OR NOT said MATCHES "moe(_add_model)?: cannot .+: .+; [a-z]")
    fail("expected '${reason}' for ${text}, got: ${said}")
  endif()
  set(failures ${failures} PARENT_SCOPE)
endfunction()

gives("{${llama}}" chat_bot_config
      "inline constexpr moe::ModelConfig chat_bot_config{\n    .vocab = 96,\n    .dim = 32,"
      ".layers = 2,\n    .heads = 4,\n    .kv_heads = 4,\n    .hidden = 80,\n    .context = 64,"
      ".context = 64,\n    .tied = false}\;")
set(more NAME smol NAMESPACE a::b)
set(both_versions [=["num_key_value_heads":2,"tie_word_embeddings":true,"rope_theta":1e6,
"rope_scaling":null,"rope_parameters":{"rope_type":"default","rope_theta":1000000.0},
"sliding_window":null,"layer_types":["full_attention", "full_attention"]]=])
gives("{${llama},${both_versions}}" smol "namespace a::b {" "}  // namespace a::b" "smol{"
      ".kv_heads = 2" ".context = 64}\;")
set(more NAME model)
gives("{${llama},\"attention_bias\":true,\"mlp_bias\":true,\"hidden_act\":\"gelu\",\"head_dim\":8}"
      model ".bias = true" "Activation::geglu")
gives("{${mixtral},\"sliding_window\":64}" model ".kv_heads = 2" ".hidden = 80"
      ".moe = {.experts = 4, .hidden = 80}}\;")
gives("{${gpt2}}" model ".hidden = 128,\n    .context = 64,\n    .bias = true,"
      ".norm = moe::Norm::layer" ".position = moe::Position::learned"
      ".activation = moe::Activation::gelu_tanh}\;")

# Other spellings of the same values are read as the same.
string(REPLACE ":96" ":1e+04" changed "{${llama},\"a\":[NaN, -Infinity],\"max_length\":Infinity}")
gives("${changed}" model ".vocab = 10000,")
string(REPLACE ":96" ":10000.0" changed "{${llama},\"head_dim\":null}")
string(ASCII 239 187 191 mark)
gives("${mark}${changed}" model ".vocab = 10000," ".tied = false")

# The header is made again when the file changes.
write_config("{${gpt2},\"activation_function\":\"relu2\"}")
execute_process(COMMAND ${CMAKE_COMMAND} --build "${work}/build" OUTPUT_QUIET
                COMMAND_ERROR_IS_FATAL ANY)
file(READ "${work}/build/moe_models/chat-bot/model.hpp" made)
if(NOT made MATCHES "relu_squared")
  fail("a changed file was not read again:\n${made}")
endif()

refuses("{" "as JSON")
refuses("[]" "it is no JSON object")
refuses("" "as JSON")
refuses("{}" "model_type is missing where gpt2, llama or mixtral is expected")
refuses("{\"model_type\":\"qwen3_moe\"}" "model_type is \"qwen3_moe\" where")
string(REPLACE ":96" ":1.5" changed "{${llama}}")
refuses("${changed}" "vocab_size is 1.5 where an integer")
string(REPLACE ":96" ":NaN" changed "{${llama}}")
refuses("${changed}" "vocab_size is null where an integer")
refuses("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n" "run 'git lfs pull'")
refuses("<!DOCTYPE html><html></html>" "it is a web page")
string(REPLACE ":96" ":\"96\"" changed "{${llama}}")
refuses("${changed}" "vocab_size is \"96\" where an integer")
string(REPLACE ":96" ":0" changed "{${llama}}")
refuses("${changed}" "vocab_size is 0 where an integer")
string(REPLACE ":96" ":2147483648" changed "{${llama}}")
refuses("${changed}" "vocab_size is 2147483648 where an integer")
string(REPLACE "\"vocab_size\":96," "" changed "{${llama}}")
refuses("${changed}" "vocab_size is missing where an integer")
string(REPLACE "heads\":4" "heads\":5" changed "{${llama}}")
refuses("${changed}" "num_attention_heads is 5 and heads of this number")
foreach(case IN ITEMS
    "llama|\"num_key_value_heads\":3|num_attention_heads is 4 and heads"
    "llama|\"head_dim\":16|head_dim is 16 and only"
    "llama|\"hidden_act\":\"relu\"|hidden_act is \"relu\" and this activation"
    "llama|\"attention_bias\":true|mlp_bias is missing and biases"
    "llama|\"mlp_bias\":\"x\"|mlp_bias is \"x\" where true or false"
    "llama|\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.0}|rope_scaling is {"
    "llama|\"rope_parameters\":{\"rope_type\":\"yarn\"}|rope_parameters is {"
    "llama|\"rope_parameters\":{\"full_attention\":{}}|of type default"
    "llama|\"rope_parameters\":{\"partial_rotary_factor\":0.5}|turn a part of each head"
    "llama|\"rope_parameters\":3|where an object is expected"
    "llama|\"partial_rotary_factor\":0.5|turn a part of each head"
    "llama|\"layer_types\":[\"full_attention\",\"sliding_attention\"]|sliding_attention"
    "llama|\"quantization_config\":{}|quantised weights"
    "mixtral|\"sliding_window\":32|sliding_window is 32 and attention"
    "mixtral|\"attention_bias\":true|attention_bias is true and Mixtral"
    "gpt2|\"activation_function\":\"relu\"|activation_function is \"relu\""
    "gpt2|\"scale_attn_weights\":false|scale_attn_weights is false"
    "gpt2|\"scale_attn_by_inverse_layer_idx\":true|scale_attn_by_inverse_layer_idx is true"
    "gpt2|\"add_cross_attention\":true|add_cross_attention is true")
  string(REGEX MATCH "^([^|]*)[|]([^|]*)[|](.*)$" matched "${case}")
  refuses("{${${CMAKE_MATCH_1}},${CMAKE_MATCH_2}}" "${CMAKE_MATCH_3}")
endforeach()
string(REPLACE "tok\":2" "tok\":5" changed "{${mixtral}}")
refuses("${changed}" "num_experts_per_tok is 5 and num_local_experts is smaller")
refuses("{${llama}}" "there is no such target" target no_such_target)
refuses("{${llama}}" "that is no C++ name" more NAME 3d)
refuses("{${llama}}" "that is no C++ name" more NAMESPACE a:b)
refuses("{${llama}}" "arguments are not understood" more surprise)
refuses("{${llama}}" "there is no such file" more CONFIG none.json)
refuses("{${llama}}" "it would run on another machine"
        options -D MOE_CONFIG_TO_CPP= -D cross=TRUE)

if(failures GREATER 0)
  message(FATAL_ERROR "${failures} failures")
endif()
