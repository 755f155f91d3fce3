# The functions with which every folder declares its target, so that flags and include rules are in one place.

add_library(syncbn_flags INTERFACE)
target_include_directories(syncbn_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_options(syncbn_flags INTERFACE
  -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers
  # A product and a sum are fused only where the source says std::fma: the bits of a result must not
  # depend on which expressions the compiler saw together.
  -ffp-contract=off)
target_link_libraries(syncbn_flags INTERFACE Threads::Threads)
if(SYNCBN_SANITIZE)
  target_compile_options(syncbn_flags INTERFACE -fsanitize=${SYNCBN_SANITIZE} -fno-omit-frame-pointer
                         -fno-sanitize-recover=all)
  target_link_options(syncbn_flags INTERFACE -fsanitize=${SYNCBN_SANITIZE})
endif()

# syncbn_library(name SOURCES a.cc ... DEPS target ... PRIVATE_DEPS target ...)
# Declares the static library syncbn_<name>: one folder, one namespace, one target.
function(syncbn_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(syncbn_${name} STATIC ${ARG_SOURCES})
  target_link_libraries(syncbn_${name} PUBLIC syncbn_flags ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
endfunction()

# syncbn_is_run_by_tests(program): its sanitizers leave the leaks of Open MPI alone, and preloading alone.
function(syncbn_is_run_by_tests program)
  if(SYNCBN_SANITIZE MATCHES address)
    target_sources(${program} PRIVATE ${CMAKE_SOURCE_DIR}/tests/support/sanitized_program.cc)
  endif()
endfunction()

# Builds the tests labelled `threads`.
add_custom_target(threaded_tests)

# syncbn_test(name SOURCES a_test.cc ... DEPS target ... [LABELS label ...] [TIMEOUT seconds])
# Declares one GoogleTest program and registers it as one CTest test of the same name.
function(syncbn_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE syncbn_flags ${ARG_DEPS} GTest::gtest GTest::gmock GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name})
  if("threads" IN_LIST ARG_LABELS)
    add_dependencies(threaded_tests ${name})
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}"
    ENVIRONMENT "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;OMPI_MCA_rtc_hwloc_vmhole=none;OMP_NUM_THREADS=1")
endfunction()
