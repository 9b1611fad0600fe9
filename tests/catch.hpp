#pragma once
// Catch2 3 where it is installed, else Catch2 2 (Debian 12): the tests use what both have.
#if __has_include(<catch2/catch_test_macros.hpp>)
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#else
#include <catch2/catch.hpp>
#endif
