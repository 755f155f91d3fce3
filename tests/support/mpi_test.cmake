# Tests that run as real processes under mpirun.

set(SYNCBN_MPI_ENVIRONMENT
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_rtc_hwloc_vmhole=none OMPI_MCA_rmaps_base_oversubscribe=1
  OMP_NUM_THREADS=1)
if(SYNCBN_SANITIZE MATCHES address)
  # The MPI library itself does not free everything.
  list(APPEND SYNCBN_MPI_ENVIRONMENT ASAN_OPTIONS=detect_leaks=0)
endif()

# add_mpi_test(name RANKS 1 2 3 4 SOURCES a_mpi_test.cc ... DEPS target ... [TIMEOUT seconds])
# Declares one GoogleTest program, whose ranks all run the same tests, and registers one CTest test
# "<name>_np<ranks>" for each number of ranks. Rank 0 prints everything, the others their failures; every line
# is prefixed with its rank. There may be more ranks than cores.
function(add_mpi_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "RANKS;SOURCES;DEPS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_executable(${name} ${ARG_SOURCES} ${CMAKE_SOURCE_DIR}/tests/support/mpi_main.cc)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE syncbn_flags syncbn_comm syncbn_test_report ${ARG_DEPS} GTest::gtest GTest::gmock)
  if(SYNCBN_SANITIZE MATCHES thread)
    return()  # ThreadSanitizer does not see the MPI library's own synchronization
  endif()
  foreach(ranks IN LISTS ARG_RANKS)
    add_test(NAME ${name}_np${ranks}
      COMMAND ${MPIEXEC_EXECUTABLE} -np ${ranks} --oversubscribe --bind-to none --tag-output
              $<TARGET_FILE:${name}>)
    set_tests_properties(${name}_np${ranks} PROPERTIES
      TIMEOUT ${ARG_TIMEOUT} LABELS mpi PROCESSORS 2 ENVIRONMENT "${SYNCBN_MPI_ENVIRONMENT}")
  endforeach()
endfunction()
