// The main function of test programs.
#include <gmock/gmock.h>

#include "tests/support/test_report.h"

int main(int argc, char** argv) {
  testing::InitGoogleMock(&argc, argv);
  syncbn::ReportTestResults();
  return syncbn::TestExitCode(RUN_ALL_TESTS());
}
