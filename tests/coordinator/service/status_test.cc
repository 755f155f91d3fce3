// Errors on the wire: code, text, reason and details, as error.proto says.
#include "coordinator/service/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/run_file.h"
#include "rpc/status.h"
#include "tests/coordinator/service/service_fixture.h"

namespace syncbn::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

v1::ErrorStatus WireOf(const grpc::Status& status) {
  v1::ErrorStatus wire;
  EXPECT_TRUE(wire.ParseFromString(status.error_details()));
  return wire;
}

TEST(Status, CarriesCodeReasonDomainAndMetadata) {
  const grpc::Status status = ToStatus(ApiError(ErrorCode::kAborted, "ETAG_MISMATCH",
                                                "jobs/7 has changed", {{"etag", "r5"}}));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(status.error_message(), "jobs/7 has changed");
  const v1::ErrorStatus wire = WireOf(status);
  EXPECT_EQ(wire.code(), 10);
  EXPECT_EQ(wire.message(), "jobs/7 has changed");
  ASSERT_EQ(wire.details_size(), 1);
  EXPECT_EQ(wire.details(0).type_url(), "type.googleapis.com/syncbn.v1.ErrorInfo");
  const v1::ErrorInfo info = InfoOf(status);
  EXPECT_EQ(info.reason(), "ETAG_MISMATCH");
  EXPECT_EQ(info.domain(), "syncbn");
  EXPECT_EQ(info.metadata().at("etag"), "r5");
}

TEST(Status, EveryCodeOfOursIsTheOneOfTheSameNameOfGrpcs) {
  for (int code = 0; code <= static_cast<int>(ErrorCode::kDataLoss); ++code) {
    const auto ours = static_cast<ErrorCode>(code);
    EXPECT_EQ(rpc::StatusCodeName(ToStatusCode(ours)), ErrorCodeName(ours));
  }
}

TEST(Status, AnErrorWithoutAReasonHasTheNameOfItsCodeAndItsFramesInTheText) {
  Error error(ErrorCode::kUnavailable, "the host is away");
  error.AddFrame("asking node1");
  EXPECT_EQ(Say(ToStatus(error)), "UNAVAILABLE UNAVAILABLE: the host is away\n  in asking node1");
}

TEST(Status, AFullDiskIsStoreFull) {
  EXPECT_EQ(Say(ToStatus(Error(ErrorCode::kResourceExhausted,
                               "the store /d/store.db: database or disk is full"))),
            "RESOURCE_EXHAUSTED STORE_FULL: the store /d/store.db: database or disk is full");
}

TEST(Status, WhatIsNoErrorOfOursTellsNothingOfItself) {
  const grpc::Status status =
      ToStatus(std::make_exception_ptr(std::runtime_error("/root/secret is missing")));
  EXPECT_EQ(Say(status),
            "INTERNAL INTERNAL: the coordinator met a fault of its own; its log tells more");
}

TEST(Status, ARunFileCarriesEveryFaultWithItsPlace) {
  const auto checked = config::CheckRunFile("name: x\nsede: 3\ntrain: {epochs: -1}\n", "run.yaml");
  ASSERT_FALSE(checked.diagnostics.empty());
  const grpc::Status status = ToStatus(RunFileError(checked.diagnostics, "run.yaml"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(InfoOf(status).reason(), "RUN_FILE_INVALID");
  const v1::ErrorStatus wire = WireOf(status);
  ASSERT_EQ(wire.details_size(), 2);
  v1::RunFileErrors errors;
  ASSERT_TRUE(wire.details(1).UnpackTo(&errors));
  ASSERT_EQ(errors.errors_size(), static_cast<int>(checked.diagnostics.all().size()));
  for (int i = 0; i < errors.errors_size(); ++i) {
    const config::Diagnostic& fault = checked.diagnostics.all()[static_cast<size_t>(i)];
    EXPECT_EQ(errors.errors(i).file(), "run.yaml");
    EXPECT_EQ(errors.errors(i).line(), fault.line);
    EXPECT_EQ(errors.errors(i).column(), fault.column);
    EXPECT_EQ(errors.errors(i).path(), fault.path);
    EXPECT_EQ(errors.errors(i).message(), fault.message);
    EXPECT_EQ(errors.errors(i).text(), config::FormatDiagnostic(fault));
  }
}

TEST(Status, ARunFileOfAHundredFaultsFitsIntoTheHeadersOfAnAnswer) {
  std::string text = "name: x\n";
  for (int i = 0; i < 100; ++i) text += "wrong_key_" + std::to_string(i) + ": 3\n";
  const auto checked = config::CheckRunFile(text, "run.yaml");
  ASSERT_EQ(checked.diagnostics.all().size(), 100u);
  const grpc::Status status = ToStatus(RunFileError(checked.diagnostics, "run.yaml"));
  // 8 KiB for all headers, of which gRPC needs few; details travel as base64.
  EXPECT_LT(status.error_message().size() + status.error_details().size() * 4 / 3, 7700u);
  EXPECT_EQ(InfoOf(status).metadata().at("errors"), "100");
  v1::RunFileErrors errors;
  ASSERT_TRUE(WireOf(status).details(1).UnpackTo(&errors));
  EXPECT_GE(errors.errors_size(), 5);
  EXPECT_EQ(errors.errors(0).path(), checked.diagnostics.all()[0].path);
  // A client that takes more gets all.
  const grpc::Status large =
      ToStatus(RunFileError(checked.diagnostics, "run.yaml"), size_t{1} << 20);
  ASSERT_TRUE(WireOf(large).details(1).UnpackTo(&errors));
  EXPECT_EQ(errors.errors_size(), 100);
}

TEST(Status, ALongTextIsNotCutInsideACharacter) {
  const std::string beginning(1019, 'a');
  const grpc::Status status =
      ToStatus(Error(ErrorCode::kInternal, beginning + "\xc3\xa4 and more"));
  EXPECT_EQ(status.error_message(), beginning + " ...");
  EXPECT_EQ(WireOf(status).message(), status.error_message());
}

}  // namespace
}  // namespace syncbn::coordinator
