// Errors on the wire, server side: from what is thrown to a gRPC status whose binary details hold
// one syncbn.v1.ErrorStatus (error.proto). src/client/status.h is the way back.
#pragma once

#include <grpcpp/support/status.h>

#include <exception>
#include <string>

#include "config/diagnostic.h"
#include "coordinator/api_error.h"
#include "syncbn/v1/error.pb.h"

namespace syncbn::coordinator {

// A run file, a study file or an override that is wrong: RUN_FILE_INVALID (or STUDY_FILE_INVALID)
// with every fault and its place.
class RunFileError : public ApiError {
 public:
  // `name` is what the text of all faults calls the file.
  RunFileError(const config::Diagnostics& diagnostics, const std::string& name,
               const std::string& reason = "RUN_FILE_INVALID");

  const v1::RunFileErrors& errors() const { return errors_; }

 private:
  v1::RunFileErrors errors_;
};

// Bytes of details that every client takes: gRPC's own limit for all headers of an answer is 8 KiB.
// A client that takes more says so in its request's metadata, `syncbn-max-details: BYTES`, and then
// gets every fault of a long run file.
constexpr size_t kUsualDetails = 4608, kMostDetails = size_t{1} << 20;

// The status of an error: its code (UNAUTHENTICATED for an ApiError with that reason); its message
// with the frames; the details. An Error without a reason gets the one of ReasonOf.
grpc::Status ToStatus(const Error& error, size_t max_details = kUsualDetails);

// The status of whatever was thrown. What is no Error is a bug: INTERNAL, without its text, which
// may name things that clients must not learn, but with `where`, the place where it is told.
grpc::Status ToStatus(const std::exception_ptr& thrown, size_t max_details = kUsualDetails,
                      const std::string& where = "its log tells more");

// OUT_OF_RANGE and so on. Ours have the same names and meaning as gRPC's.
grpc::StatusCode ToStatusCode(ErrorCode code);

// The reason of an error that was thrown without one: that of ApiErrors, STORE_FULL for a full
// disk, else the name of the code.
std::string ReasonOf(const Error& error);

}  // namespace syncbn::coordinator
