// What a status says beside its code.
#include "rpc/status.h"

#include <gtest/gtest.h>

namespace syncbn::rpc {
namespace {

v1::ErrorInfo InfoWith(const std::string& reason) {
  v1::ErrorInfo info;
  info.set_reason(reason);
  return info;
}

grpc::Status StatusOf(const v1::ErrorStatus& details) {
  return grpc::Status(grpc::StatusCode::ABORTED, "too late", details.SerializeAsString());
}

TEST(StatusCodeName, IsGrpcsOwnForEveryCode) {
  EXPECT_EQ(StatusCodeName(grpc::StatusCode::OK), "OK");
  EXPECT_EQ(StatusCodeName(grpc::StatusCode::CANCELLED), "CANCELLED");
  EXPECT_EQ(StatusCodeName(grpc::StatusCode::UNKNOWN), "UNKNOWN");
  EXPECT_EQ(StatusCodeName(grpc::StatusCode::INVALID_ARGUMENT), "INVALID_ARGUMENT");
  EXPECT_EQ(StatusCodeName(grpc::StatusCode::DEADLINE_EXCEEDED), "DEADLINE_EXCEEDED");
  EXPECT_EQ(StatusCodeName(grpc::StatusCode::NOT_FOUND), "NOT_FOUND");
  EXPECT_EQ(StatusCodeName(grpc::StatusCode::ALREADY_EXISTS), "ALREADY_EXISTS");
  EXPECT_EQ(StatusCodeName(grpc::StatusCode::PERMISSION_DENIED), "PERMISSION_DENIED");
  EXPECT_EQ(StatusCodeName(grpc::StatusCode::RESOURCE_EXHAUSTED), "RESOURCE_EXHAUSTED");
  EXPECT_EQ(StatusCodeName(grpc::StatusCode::FAILED_PRECONDITION), "FAILED_PRECONDITION");
  EXPECT_EQ(StatusCodeName(grpc::StatusCode::ABORTED), "ABORTED");
  EXPECT_EQ(StatusCodeName(grpc::StatusCode::OUT_OF_RANGE), "OUT_OF_RANGE");
  EXPECT_EQ(StatusCodeName(grpc::StatusCode::UNIMPLEMENTED), "UNIMPLEMENTED");
  EXPECT_EQ(StatusCodeName(grpc::StatusCode::INTERNAL), "INTERNAL");
  EXPECT_EQ(StatusCodeName(grpc::StatusCode::UNAVAILABLE), "UNAVAILABLE");
  EXPECT_EQ(StatusCodeName(grpc::StatusCode::DATA_LOSS), "DATA_LOSS");
  EXPECT_EQ(StatusCodeName(grpc::StatusCode::UNAUTHENTICATED), "UNAUTHENTICATED");
}

TEST(StatusCodeName, IsUnknownForANumberOfNoCode) {
  EXPECT_EQ(StatusCodeName(static_cast<grpc::StatusCode>(17)), "UNKNOWN");
  EXPECT_EQ(StatusCodeName(static_cast<grpc::StatusCode>(-1)), "UNKNOWN");
}

TEST(DetailOf, FindsAMessageAmongOthersByItsKind) {
  v1::ErrorStatus details;
  details.add_details()->PackFrom(InfoWith("ATTEMPT_SUPERSEDED"));
  v1::RunFileErrors faults;
  faults.add_errors()->set_line(7);
  details.add_details()->PackFrom(faults);
  const grpc::Status status = StatusOf(details);
  ASSERT_TRUE(DetailOf<v1::ErrorInfo>(status));
  EXPECT_EQ(DetailOf<v1::ErrorInfo>(status)->reason(), "ATTEMPT_SUPERSEDED");
  ASSERT_TRUE(DetailOf<v1::RunFileErrors>(status));
  EXPECT_EQ(DetailOf<v1::RunFileErrors>(status)->errors(0).line(), 7);
}

TEST(DetailOf, TakesGooglesNameForTheSameMessage) {
  v1::ErrorStatus details;
  details.add_details()->PackFrom(InfoWith("JOB_NOT_FOUND"));
  details.mutable_details(0)->set_type_url("type.googleapis.com/google.rpc.ErrorInfo");
  ASSERT_TRUE(DetailOf<v1::ErrorInfo>(StatusOf(details)));
  EXPECT_EQ(DetailOf<v1::ErrorInfo>(StatusOf(details))->reason(), "JOB_NOT_FOUND");
}

TEST(DetailOf, FindsNothingWhereThePeerSentNoneOrSomethingElse) {
  v1::ErrorStatus details;
  details.add_details()->PackFrom(v1::RunFileErrors());
  EXPECT_FALSE(DetailOf<v1::ErrorInfo>(StatusOf(details)));
  EXPECT_FALSE(DetailOf<v1::ErrorInfo>(grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone")));
  EXPECT_FALSE(DetailOf<v1::ErrorInfo>(grpc::Status(grpc::StatusCode::ABORTED, "", "no message")));
}

}  // namespace
}  // namespace syncbn::rpc
