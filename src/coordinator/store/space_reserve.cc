#include "coordinator/store/space_reserve.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "base/descriptor.h"

namespace syncbn::coordinator {
namespace {

namespace fs = std::filesystem;

// The store's files while it is open, and some hundred changes of jobs.
constexpr uintmax_t kWanted = 8 << 20;
constexpr uintmax_t kLeast = 512 << 10;
// Of what is free, on a small disk.
constexpr uintmax_t kShare = 8;
// What disks give and take.
constexpr uintmax_t kBlock = 4096;

uintmax_t SizeOf(const fs::path& file) {
  std::error_code error;
  const uintmax_t size = fs::file_size(file, error);
  return error ? 0 : size;
}

}  // namespace

bool SpaceReserve::Take() {
  std::lock_guard lock(mutex_);
  if (std::chrono::steady_clock::now() < next_look_) return !given_;
  return Look();
}

bool SpaceReserve::TakeBack() {
  std::lock_guard lock(mutex_);
  return Look();
}

bool SpaceReserve::Look() {
  next_look_ = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  std::error_code error;
  const uintmax_t size = SizeOf(file_), free = fs::space(file_.parent_path(), error).available;
  if (error) return !given_;
  const uintmax_t share = std::min(kWanted, (size + free) / kShare);
  wanted_ = std::max({wanted_, size, share < kLeast ? 0 : share});
  if (const uintmax_t possible = std::min(wanted_, size + free); possible > size)
    Grow(size, possible);
  if (SizeOf(file_) >= wanted_) given_ = false;
  return !given_;
}

void SpaceReserve::Grow(uintmax_t size, uintmax_t wanted) {
  const Descriptor file(::open(file_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (file.get() < 0) return;
  const auto length = static_cast<off_t>(size);
  // What is free may be less than the system says, or be gone by now.
  for (uintmax_t more = wanted - size; more >= kBlock; more /= 2) {
    if (::posix_fallocate(file.get(), length, static_cast<off_t>(more)) == 0) return;
    if (::ftruncate(file.get(), length) != 0) return;
  }
}

bool SpaceReserve::Give(uintmax_t bytes) {
  std::lock_guard lock(mutex_);
  const uintmax_t size = SizeOf(file_);
  wanted_ = std::max(wanted_, size);
  if (size == 0) return false;
  if (::truncate(file_.c_str(), static_cast<off_t>(bytes < size ? size - bytes : 0)) != 0)
    return false;
  given_ = true;
  return true;
}

}  // namespace syncbn::coordinator
