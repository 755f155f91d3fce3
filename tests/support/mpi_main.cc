// The main function of test programs that run under mpirun: all ranks run the same tests.
#include <gtest/gtest.h>

#include <cstdio>
#include <exception>
#include <string>

#include "comm/mpi/mpi_session.h"
#include "tests/support/mpi_world.h"
#include "tests/support/test_report.h"

namespace syncbn {
namespace {

comm::Communicator* world = nullptr;

// Prints only what has failed.
class FailurePrinter : public testing::EmptyTestEventListener {
  void OnTestStart(const testing::TestInfo& test) override {
    test_ = std::string(test.test_suite_name()) + "." + test.name();
  }
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::printf("%s:%d: Failure in %s\n%s\n", result.file_name() ? result.file_name() : "?",
                result.line_number(), test_.c_str(), result.message());
    std::fflush(stdout);
  }

  std::string test_;
};

}  // namespace

comm::Communicator& MpiWorld() { return *world; }

}  // namespace syncbn

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  int failed = 1;
  try {
    syncbn::comm::MpiSession session;
    syncbn::world = &session.world();
    if (session.world().rank() != 0) {
      testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
      delete listeners.Release(listeners.default_result_printer());
      listeners.Append(new syncbn::FailurePrinter);
    } else {
      syncbn::ReportTestResults();
    }
    failed = RUN_ALL_TESTS();
    // A rank that leaves early would take the others' reports with it.
    session.world().Barrier();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
  return failed;
}
