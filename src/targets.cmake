# The functions with which every folder declares its target, so that flags and include rules are in one place.

add_library(syncbn_flags INTERFACE)
target_include_directories(syncbn_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_options(syncbn_flags INTERFACE
  -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers
  # GCC 12 sees overlong copies where a string and a literal are joined (its bug 105651).
  "$<$<AND:$<CXX_COMPILER_ID:GNU>,$<VERSION_LESS:$<CXX_COMPILER_VERSION>,13>>:-Wno-array-bounds;-Wno-stringop-overflow>"
  # A product and a sum are fused only where the source says std::fma: the bits of a result must not
  # depend on which expressions the compiler saw together.
  -ffp-contract=off
  # What ccache needs to work with precompiled headers.
  $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
target_link_libraries(syncbn_flags INTERFACE Threads::Threads)
if(SYNCBN_SANITIZE)
  target_compile_options(syncbn_flags INTERFACE -fsanitize=${SYNCBN_SANITIZE} -fno-omit-frame-pointer
                         -fno-sanitize-recover=all)
  target_link_options(syncbn_flags INTERFACE -fsanitize=${SYNCBN_SANITIZE})
endif()

# Headers of others that many files read are compiled once (half of the time of a file that speaks gRPC is
# reading its headers). Three sets, each a target of its own that the others reuse:
#   std   the standard library
#   rpc   and the generated messages and services, and gRPC
#   test  and GoogleTest; test_rpc: all
# Our own headers are never in them: a change would compile everything anew. Sources include what they use
# all the same; a build with -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON shows what was forgotten.
set(SYNCBN_STD_HEADERS <algorithm> <array> <atomic> <charconv> <chrono> <cmath> <condition_variable> <cstdint>
  <cstdio> <cstdlib> <cstring> <deque> <filesystem> <fstream> <functional> <limits> <map> <memory> <mutex>
  <optional> <set> <span> <sstream> <string> <string_view> <thread> <unordered_map> <utility> <variant> <vector>)
set(SYNCBN_RPC_HEADERS <google/protobuf/util/time_util.h> <grpcpp/grpcpp.h> <syncbn/v1/run.pb.h>
  <syncbn/v1/admin.grpc.pb.h> <syncbn/v1/cluster.grpc.pb.h> <syncbn/v1/job.grpc.pb.h> <syncbn/v1/log.grpc.pb.h>
  <syncbn/v1/metrics.grpc.pb.h> <syncbn/v1/worker.grpc.pb.h>)
set(SYNCBN_TEST_HEADERS <gmock/gmock.h> <gtest/gtest.h>)

function(syncbn_precompile set)
  cmake_parse_arguments(ARG "" "" "HEADERS;DEPS" ${ARGN})
  set(source ${CMAKE_BINARY_DIR}/precompiled/${set}.cc)
  file(CONFIGURE OUTPUT ${source} CONTENT "// What the precompiled headers of '${set}' are made with.\n")
  add_library(syncbn_precompiled_${set} OBJECT ${source})
  target_link_libraries(syncbn_precompiled_${set} PRIVATE syncbn_flags ${ARG_DEPS})
  target_precompile_headers(syncbn_precompiled_${set} PRIVATE ${ARG_HEADERS})
endfunction()

syncbn_precompile(std HEADERS ${SYNCBN_STD_HEADERS})
syncbn_precompile(rpc HEADERS ${SYNCBN_STD_HEADERS} ${SYNCBN_RPC_HEADERS} DEPS syncbn_proto_grpc)
if(SYNCBN_BUILD_TESTS)
  syncbn_precompile(test HEADERS ${SYNCBN_STD_HEADERS} ${SYNCBN_TEST_HEADERS} DEPS GTest::gmock)
  syncbn_precompile(test_rpc HEADERS ${SYNCBN_STD_HEADERS} ${SYNCBN_RPC_HEADERS} ${SYNCBN_TEST_HEADERS}
                    DEPS syncbn_proto_grpc GTest::gmock)
endif()

# syncbn_library(name SOURCES a.cc ... DEPS target ... PRIVATE_DEPS target ... [PRECOMPILED std|rpc|none])
# Declares the static library syncbn_<name>: one folder, one namespace, one target.
function(syncbn_library name)
  cmake_parse_arguments(ARG "" "PRECOMPILED" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(syncbn_${name} STATIC ${ARG_SOURCES})
  target_link_libraries(syncbn_${name} PUBLIC syncbn_flags ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
  if(NOT ARG_PRECOMPILED)
    set(ARG_PRECOMPILED std)
  endif()
  if(NOT ARG_PRECOMPILED STREQUAL none)
    target_precompile_headers(syncbn_${name} REUSE_FROM syncbn_precompiled_${ARG_PRECOMPILED})
  endif()
endfunction()

# syncbn_is_run_by_tests(program): its sanitizers leave the leaks of Open MPI alone, and preloading alone.
function(syncbn_is_run_by_tests program)
  if(SYNCBN_SANITIZE MATCHES address)
    target_sources(${program} PRIVATE ${CMAKE_SOURCE_DIR}/tests/support/sanitized_program.cc)
  endif()
endfunction()

# Builds the tests labelled `threads`.
add_custom_target(threaded_tests)

# syncbn_test(name SOURCES a_test.cc ... DEPS target ... [LABELS label ...] [TIMEOUT seconds]
#             [PRECOMPILED test|test_rpc|none]     by default test_rpc where DEPS name what speaks gRPC
#             [ON_CHECKED_DEVICE] [ON_EMULATED_DEVICE [EMULATED_FILTER filter]])
# Declares one GoogleTest program and registers it as one CTest test of the same name. ON_CHECKED_DEVICE
# registers it once more, as <name>_on_checked_device: what its tests make with OnTestDevice
# (tests/support/test_device.h) is then on a device whose memory nobody may look into but its operations.
# ON_EMULATED_DEVICE likewise, as <name>_on_emulated_device: with the CUDA back end on an emulated GPU; the filter is
# GoogleTest's, and leaves out what takes minutes there.
function(syncbn_test name)
  cmake_parse_arguments(ARG "ON_CHECKED_DEVICE;ON_EMULATED_DEVICE" "TIMEOUT;PRECOMPILED;EMULATED_FILTER" "SOURCES;DEPS;LABELS" ${ARGN})
  if(NOT ARG_PRECOMPILED)
    set(ARG_PRECOMPILED test)
    if(ARG_DEPS MATCHES "syncbn_(client|coordinator|fake_coordinator|report|resilience|rpc|serve_fixture|service)")
      set(ARG_PRECOMPILED test_rpc)
    endif()
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 600)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE syncbn_flags ${ARG_DEPS} syncbn_test_main GTest::gtest GTest::gmock)
  if(NOT ARG_PRECOMPILED STREQUAL none)
    target_precompile_headers(${name} REUSE_FROM syncbn_precompiled_${ARG_PRECOMPILED})
  endif()
  add_test(NAME ${name} COMMAND ${name})
  if("threads" IN_LIST ARG_LABELS)
    add_dependencies(threaded_tests ${name})
  endif()
  set(environment "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;OMPI_MCA_rtc_hwloc_vmhole=none;OMP_NUM_THREADS=1")
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}" SKIP_RETURN_CODE 77
    ENVIRONMENT "${environment}")
  if(ARG_ON_CHECKED_DEVICE)
    target_link_libraries(${name} PRIVATE syncbn_backend_checked)
    add_test(NAME ${name}_on_checked_device COMMAND ${name})
    set_tests_properties(${name}_on_checked_device PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}"
      SKIP_RETURN_CODE 77 ENVIRONMENT "${environment};SYNCBN_TEST_DEVICE=checked")
  endif()
  if(ARG_ON_EMULATED_DEVICE)
    target_link_libraries(${name} PRIVATE syncbn_backend_checked syncbn_emulated_test_device
      $<TARGET_OBJECTS:syncbn_emulated_test_device>)
    add_test(NAME ${name}_on_emulated_device COMMAND ${name})
    set(emulated "SYNCBN_TEST_DEVICE=emulated")
    if(ARG_EMULATED_FILTER)
      list(APPEND emulated "GTEST_FILTER=${ARG_EMULATED_FILTER}")
    endif()
    set_tests_properties(${name}_on_emulated_device PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}"
      SKIP_RETURN_CODE 77 ENVIRONMENT "${environment};${emulated}")
  endif()
endfunction()
