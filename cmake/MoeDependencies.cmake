# Finds what moe::moe links: Eigen3::Eigen, xsimd, moe::pfr, moe::openmp. The build of moe and the
# installed package both include this file. Afterwards moe_missing lists what was not found.
set(moe_missing "")

# The call has no version, because Eigen 5 declares itself incompatible with a request for 3.4.
find_package(Eigen3 CONFIG QUIET)
if(NOT TARGET Eigen3::Eigen OR (Eigen3_VERSION AND Eigen3_VERSION VERSION_LESS 3.4))
  list(APPEND moe_missing "Eigen >= 3.4")
endif()

# The xsimd of Debian 12 links the target xtl, although it does not need it and its package does not
# depend on it.
if(NOT TARGET xtl)
  find_package(xtl CONFIG QUIET)
endif()
if(NOT TARGET xtl)
  add_library(xtl INTERFACE IMPORTED GLOBAL)
endif()
find_package(xsimd CONFIG QUIET)
if(NOT TARGET xsimd OR (xsimd_VERSION AND xsimd_VERSION VERSION_LESS 8.1))
  list(APPEND moe_missing "xsimd >= 8.1")
endif()

# Only the header of PFR is looked for: Boost before 1.75 has no PFR, and PFR needs nothing else of
# Boost.
find_path(MOE_PFR_INCLUDE_DIR boost/pfr/core.hpp
          HINTS ${Boost_INCLUDE_DIRS} ${Boost_ROOT} ENV BOOST_ROOT PATH_SUFFIXES include)
mark_as_advanced(MOE_PFR_INCLUDE_DIR)
if(NOT TARGET moe::pfr AND MOE_PFR_INCLUDE_DIR)
  add_library(moe::pfr INTERFACE IMPORTED GLOBAL)
  target_include_directories(moe::pfr INTERFACE "${MOE_PFR_INCLUDE_DIR}")
endif()
if(NOT TARGET moe::pfr)
  list(APPEND moe_missing "Boost.PFR (Boost >= 1.75)")
endif()

# Optional: without OpenMP the CPU backend runs on one thread, with the same results.
find_package(OpenMP QUIET COMPONENTS CXX)
if(NOT TARGET moe::openmp)
  add_library(moe::openmp INTERFACE IMPORTED GLOBAL)
  if(OpenMP_CXX_FOUND)
    target_link_libraries(moe::openmp INTERFACE OpenMP::OpenMP_CXX)
  else()
    message(STATUS "moe: no OpenMP for this compiler, the CPU backend will use one thread")
  endif()
endif()
