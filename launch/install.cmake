# What is installed, and the Debian package made of it:
#
#   cmake --install build --strip --prefix DIR
#   launch/package                 syncbn_*.deb, and syncbn-dbgsym_*.ddeb with the symbols
include(GNUInstallDirs)

install(TARGETS syncbn RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
# cmake --install build --component cuda: what trains on GPUs. Not part of the package, which could not say where
# NVIDIA's libraries come from.
if(SYNCBN_HAS_CUDA)
  install(TARGETS syncbn-cuda RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT cuda EXCLUDE_FROM_ALL)
endif()
install(DIRECTORY configs DESTINATION ${CMAKE_INSTALL_DATADIR}/syncbn)
install(DIRECTORY proto/ DESTINATION ${CMAKE_INSTALL_DATADIR}/syncbn/proto FILES_MATCHING PATTERN "*.proto")
install(FILES launch/mpi-environment launch/hosts.example.yaml launch/syncbn.sbatch
        DESTINATION ${CMAKE_INSTALL_DATADIR}/syncbn)
install(PROGRAMS launch/get-data DESTINATION ${CMAKE_INSTALL_DATADIR}/syncbn)
install(FILES README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)
install(FILES launch/syncbn.bash-completion
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME syncbn)

# The unit in the tree is for a program below /usr/local and a user made by hand.
file(READ launch/syncbn-coordinator.service unit)
string(REGEX REPLACE "^# The coordinator as a service of systemd.*# More options" "# More options" unit "${unit}")
string(REPLACE "/usr/local/bin/" "${CMAKE_INSTALL_FULL_BINDIR}/" unit "${unit}")
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/install/syncbn-coordinator.service CONTENT "${unit}" @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/install/syncbn-coordinator.service DESTINATION lib/systemd/system)

# Manual pages are made from the commands' own help when the package is made: they need the program.
find_program(HELP2MAN help2man)
if(HELP2MAN)
  install(CODE "
    execute_process(COMMAND ${CMAKE_SOURCE_DIR}/launch/manual-pages $<TARGET_FILE:syncbn>
      \$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_MANDIR}/man1 COMMAND_ERROR_IS_FATAL ANY)")
endif()

# The program is all that is installed: tests need not be built for it.
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_CONTACT "the syncbn authors <syncbn@localhost>")
# The program is stripped; its symbols go into a package of their own.
set(CPACK_DEBIAN_DEBUGINFO_PACKAGE ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser, openmpi-bin")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "openssh-client, curl")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"Trains networks under mpirun with statistics over any number of samples: the
same run file gives the same result, to the last bit, on any number of
processes.
A coordinator queues runs as jobs and keeps what they produce.")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_SOURCE_DIR}/launch/debian/postinst
    ${CMAKE_SOURCE_DIR}/launch/debian/prerm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)
