include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(moe_package "${CMAKE_INSTALL_DATADIR}/cmake/moe")
install(TARGETS moe EXPORT moeTargets FILE_SET HEADERS FILE_SET device)
install(EXPORT moeTargets NAMESPACE moe:: DESTINATION "${moe_package}")
# Before 1.0 a new minor version may break its users.
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/moeConfigVersion.cmake"
                                 COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES cmake/moeConfig.cmake cmake/MoeDependencies.cmake cmake/moe_add_model.cmake
              cmake/moe_config_to_cpp.cpp
              "${CMAKE_CURRENT_BINARY_DIR}/moeConfigVersion.cmake" DESTINATION "${moe_package}")
