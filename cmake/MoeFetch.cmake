# Downloads pinned versions of what find_package did not find. If it found everything, nothing here
# runs.
include(FetchContent)

set(moe_eigen_url "https://gitlab.com/libeigen/eigen/-/archive/3.4.0/eigen-3.4.0.tar.bz2")
set(moe_eigen_sha256 b4c198460eba6f28d34894e3a5710998818515104d6e74e5cc331ce31e46e626)
set(moe_xsimd_url "https://github.com/xtensor-stack/xsimd/archive/13.2.0.tar.gz")
set(moe_xsimd_sha256 edd8cd3d548c185adc70321c53c36df41abe64c1fe2c67bc6d93c3ecda82447a)
set(moe_pfr_url "https://github.com/boostorg/pfr/archive/refs/tags/2.0.3.tar.gz")
set(moe_pfr_sha256 c7d1950b56a07678423759f0bcdf37312f9861e3e9e59c45331903891213e2f2)
set(moe_cli11_url "https://github.com/CLIUtils/CLI11/archive/v2.4.2.tar.gz")
set(moe_cli11_sha256 f2d893a65c3b1324c50d4e682c0cdc021dd0477ae2c048544f39eed6654b699a)
set(moe_catch2_url "https://github.com/catchorg/Catch2/archive/v3.6.0.tar.gz")
set(moe_catch2_sha256 485932259a75c7c6b72d4b874242c489ea5155d17efa345eb8cc72159f49f356)
set(moe_benchmark_url "https://github.com/google/benchmark/archive/refs/tags/v1.8.2.tar.gz")
set(moe_benchmark_sha256 2aab2980d0376137f969d92848fbb68216abb07633034534fc8c65cc4e7a0e93)

# moe_fetch_headers(name target include): downloads headers, which need no building, and defines an
# imported target for them. A folder given as FETCHCONTENT_SOURCE_DIR_MOE_<NAME> replaces the
# download.
function(moe_fetch_headers name target include)
  if(TARGET ${target})
    message(FATAL_ERROR "moe: the installed ${name} is too old; remove it from the search path "
                        "(CMAKE_PREFIX_PATH) or install a newer one")
  endif()
  message(STATUS "moe: ${name} was not found, using ${moe_${name}_url}")
  FetchContent_Declare(moe_${name} URL ${moe_${name}_url} URL_HASH SHA256=${moe_${name}_sha256}
                       DOWNLOAD_EXTRACT_TIMESTAMP OFF SOURCE_SUBDIR not_built)
  FetchContent_MakeAvailable(moe_${name})
  add_library(${target} INTERFACE IMPORTED GLOBAL)
  target_include_directories(${target} INTERFACE "${moe_${name}_SOURCE_DIR}/${include}")
endfunction()

# moe_fetch_project(name): downloads a project and adds it to the build.
function(moe_fetch_project name)
  message(STATUS "moe: ${name} was not found, using ${moe_${name}_url}")
  FetchContent_Declare(moe_${name} URL ${moe_${name}_url} URL_HASH SHA256=${moe_${name}_sha256}
                       DOWNLOAD_EXTRACT_TIMESTAMP OFF SYSTEM)
  FetchContent_MakeAvailable(moe_${name})
endfunction()

# A macro and not a function, because FetchContent and find_package set variables of the caller.
macro(moe_fetch_missing)
  if(moe_missing MATCHES "Eigen")
    moe_fetch_headers(eigen Eigen3::Eigen .)
  endif()
  if(moe_missing MATCHES "xsimd")
    moe_fetch_headers(xsimd xsimd include)
  endif()
  if(moe_missing MATCHES "PFR")
    moe_fetch_headers(pfr moe::pfr include)
  endif()
endmacro()
