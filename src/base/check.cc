#include "base/check.h"

#include <cstring>

namespace syncbn::check_internal {

Failure::Failure(const char* file, int line, const std::string& what) {
  const char* slash = std::strrchr(file, '/');
  stream_ << (slash != nullptr ? slash + 1 : file) << ":" << line << ": " << what << " ";
}

Failure::~Failure() noexcept(false) { throw Error(ErrorCode::kInternal, stream_.str()); }

}  // namespace syncbn::check_internal
