// Room on the store's disk that is kept for the day on which it is full: a file that is removed
// then, so that a coordinator can start and jobs can be ended and deleted. Thread-safe.
#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <mutex>

namespace syncbn::coordinator {

class SpaceReserve {
 public:
  // In the file `reserve` of the folder; nothing is made yet.
  explicit SpaceReserve(const std::filesystem::path& folder) : file_(folder / "reserve") {}

  // Sets the room aside, where the disk has much more than that free; looks again only once a
  // second. True when it is there.
  bool Take();
  // Gives it up. False when there is none.
  bool Give();
  // It was needed and could not be set aside again since.
  bool given() const { return given_; }

 private:
  std::filesystem::path file_;
  std::mutex mutex_;
  std::atomic<bool> given_ = false;
  std::chrono::steady_clock::time_point next_look_{};
};

}  // namespace syncbn::coordinator
