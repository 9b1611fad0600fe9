"""Conan 2 recipe of this checkout: conan create ."""
import os
import re

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, CMakeToolchain, cmake_layout
from conan.tools.files import copy, load

required_conan_version = ">=2.0"


class MoeConan(ConanFile):
    name = "moe"
    description = "Header-only C++20 library that trains mixture-of-experts transformers"
    license = "MIT"
    topics = ("header-only", "machine-learning", "transformer", "mixture-of-experts")
    package_type = "header-library"
    settings = "os", "arch", "compiler", "build_type"
    exports_sources = "include/*", "cmake/*", "CMakeLists.txt", "LICENSE"
    generators = "CMakeDeps"
    no_copy_source = True

    def set_version(self):
        header = load(self, os.path.join(self.recipe_folder, "include/moe/core/version.hpp"))
        self.version = re.search(r'library_version = "([0-9.]+)"', header)[1]

    def layout(self):
        cmake_layout(self)

    def requirements(self):
        self.requires("eigen/[>=3.4 <6]", transitive_headers=True)
        self.requires("xsimd/[>=8.1]", transitive_headers=True)
        self.requires("pfr/[>=2.0]", transitive_headers=True)

    def validate(self):
        check_min_cppstd(self, 20)

    def generate(self):
        toolchain = CMakeToolchain(self)
        for option in ("TESTS", "EXAMPLES", "LAB", "BENCHMARKS"):
            toolchain.cache_variables[f"MOE_BUILD_{option}"] = False
        toolchain.generate()

    def package(self):
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        cmake = CMake(self)
        cmake.configure()
        cmake.install()

    def package_id(self):
        self.info.clear()

    def package_info(self):
        # The installed moeConfig.cmake is used as it is: it also finds OpenMP.
        self.cpp_info.set_property("cmake_find_mode", "none")
        self.cpp_info.builddirs = [os.path.join("share", "cmake", "moe")]
        self.cpp_info.bindirs = []
        self.cpp_info.libdirs = []
