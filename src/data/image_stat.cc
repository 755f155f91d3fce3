#include "data/image_stat.h"

#include <fcntl.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace syncbn::data {

int64_t Nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

bool FolderStat::Get(std::string_view name, struct stat& info) {
  const size_t slash = name.rfind('/');
  const std::string_view folder = name.substr(0, slash == std::string_view::npos ? 0 : slash);
  if (open_.get() < 0 || folder != folder_) {
    folder_ = folder;
    open_ = Descriptor(::open((root_ / folder_).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (open_.get() < 0) return false;
  }
  entry_ = name.substr(slash == std::string_view::npos ? 0 : slash + 1);
  return ::fstatat(open_.get(), entry_.c_str(), &info, 0) == 0;
}

void SetSeen(IndexedImage& image, const struct stat& info) {
  image.bytes = info.st_size;
  image.modified = Nanoseconds(info.st_mtim);
  image.changed = Nanoseconds(info.st_ctim);
}

bool IsAsSeen(const IndexedImage& image, const struct stat& info) {
  return image.bytes == int64_t{info.st_size} && image.modified == Nanoseconds(info.st_mtim) &&
         image.changed == Nanoseconds(info.st_ctim);
}

bool IsSettled(const IndexedImage& image, int64_t begun) {
  return std::min(image.modified, image.changed) + kTick <= begun;
}

void LookInParts(size_t count, const std::function<LookAtPart()>& make) {
  constexpr size_t kAtOnce = 64;
  std::atomic<size_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    try {
      const LookAtPart look = make();
      for (size_t begin = next.fetch_add(kAtOnce); begin < count; begin = next.fetch_add(kAtOnce)) {
        look(begin, std::min(count, begin + kAtOnce));
      }
    } catch (...) {
      next = count;  // the others end
      std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  const size_t cores = std::max(1U, std::thread::hardware_concurrency());
  // More than cores: a look waits for the disk, too.
  const size_t threads = std::clamp<size_t>(count / 256, 1, 2 * cores);
  {
    std::vector<std::jthread> others;
    for (size_t i = 1; i < threads; ++i) others.emplace_back(work);
    work();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace syncbn::data
