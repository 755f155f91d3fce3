#include "comm/shared_failure.h"

#include <string>

#include "base/error.h"
#include "base/exception_text.h"

namespace syncbn::comm {
namespace {

// So that no cause, not even one without words, is taken for none.
constexpr std::string_view kFailed = "failed: ";

}  // namespace

void ShareFailure(Communicator& communicator, const std::exception_ptr& failure,
                  std::string_view what) {
  const auto all =
      communicator.AllGather(failure ? std::string(kFailed) + ExceptionText(failure) : std::string());
  if (failure) std::rethrow_exception(failure);
  for (size_t rank = 0; rank < all.size(); ++rank) {
    if (all[rank].empty()) continue;
    throw Error(ErrorCode::kAborted, "rank " + std::to_string(rank) + " could not " +
                                         std::string(what) + ": " +
                                         all[rank].substr(kFailed.size()));
  }
}

}  // namespace syncbn::comm
