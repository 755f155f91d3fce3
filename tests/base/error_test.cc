#include "base/error.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "base/check.h"

namespace syncbn {
namespace {

TEST(Error, FramesAreListedInnermostFirst) {
  try {
    WithFrame([] { return "step 17"; }, [] {
      WithFrame([] { return "layer conv1"; },
                []() -> void { throw Error(ErrorCode::kAborted, "rank 3 is gone"); });
    });
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kAborted);
    EXPECT_STREQ(error.what(), "rank 3 is gone\n  in layer conv1\n  in step 17");
  }
}

TEST(Error, OtherExceptionsBecomeInternalWithTheFrame) {
  try {
    WithFrame([] { return "step 1"; }, []() -> void { throw std::runtime_error("boom"); });
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInternal);
    EXPECT_STREQ(error.what(), "boom\n  in step 1");
  }
}

TEST(Check, PrintsBothValues) {
  const int rank = 3;
  try {
    SYNCBN_CHECK_EQ(rank, 4) << "of the input";
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("rank == 4 (3 vs 4) of the input"), std::string::npos)
        << error.message();
  }
  SYNCBN_CHECK_EQ(rank, 3) << "not thrown";
}

}  // namespace
}  // namespace syncbn
