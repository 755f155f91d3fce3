// The main function of test programs that need a real GPU: where there is none they say why, and
// are skipped.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/gpus.h"
#include "tests/support/test_report.h"

namespace syncbn {
namespace {

const std::string& WhyNone() {
  static const std::string problem = backend::DescribeGpus().problem;
  return problem;
}

TEST(Gpu, IsThere) {
  if (!WhyNone().empty()) GTEST_SKIP() << "no GPU can be used: " << WhyNone();
}

}  // namespace
}  // namespace syncbn

int main(int argc, char** argv) {
  testing::InitGoogleMock(&argc, argv);
  syncbn::ReportTestResults();
  if (!GTEST_FLAG_GET(list_tests) && !syncbn::WhyNone().empty()) GTEST_FLAG_SET(filter, "Gpu.*");
  return syncbn::TestExitCode(RUN_ALL_TESTS());
}
