#include "coordinator/store/space_reserve.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

namespace syncbn::coordinator {
namespace {

namespace fs = std::filesystem;

// The store's files while it is open, and some hundred changes of jobs.
constexpr uintmax_t kWanted = 8 << 20;
constexpr uintmax_t kLeast = 512 << 10;
// Of what is free, on a small disk.
constexpr uintmax_t kShare = 8;

}  // namespace

bool SpaceReserve::Take() {
  std::lock_guard lock(mutex_);
  std::error_code error;
  if (fs::exists(file_, error)) {
    given_ = false;
    return true;
  }
  const auto now = std::chrono::steady_clock::now();
  if (now < next_look_) return false;
  next_look_ = now + std::chrono::seconds(1);
  const fs::space_info space = fs::space(file_.parent_path(), error);
  const uintmax_t bytes = error ? 0 : std::min(kWanted, space.available / kShare);
  if (bytes < kLeast) return false;
  const int file = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) return false;
  const bool made = ::posix_fallocate(file, 0, static_cast<off_t>(bytes)) == 0;
  ::close(file);
  if (!made) {
    fs::remove(file_, error);
    return false;
  }
  given_ = false;
  return true;
}

bool SpaceReserve::Give() {
  std::lock_guard lock(mutex_);
  std::error_code error;
  if (!fs::remove(file_, error)) return false;
  given_ = true;
  next_look_ = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  return true;
}

}  // namespace syncbn::coordinator
