// Room on the store's disk that is kept for the day on which it is full: a file that is made
// shorter then, so that jobs can be ended and deleted. What a write did not need of it is taken
// back at once, so that it is not spent by starting, ending and deleting, however often.
// Thread-safe.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <mutex>

namespace syncbn::coordinator {

class SpaceReserve {
 public:
  // What a write gets at a time, and all there is.
  static constexpr uintmax_t kPiece = 1 << 20, kAll = UINTMAX_MAX;

  // In the file `reserve` of the folder; nothing is made yet.
  explicit SpaceReserve(const std::filesystem::path& folder) : file_(folder / "reserve") {}

  // Gives up so many bytes of it, or the rest. False when there is none.
  bool Give(uintmax_t bytes = kPiece);
  // Sets the room aside: all that it was before it was given, as far as it is free; a new one only
  // where the disk has much more than that free. Looks again only once a second. True unless a part
  // that was given is missing still.
  bool Take();
  // The same at once.
  bool TakeBack();
  // A part of it was given and is missing still.
  bool given() const { return given_; }

 private:
  bool Look();
  void Grow(uintmax_t size, uintmax_t wanted);

  std::filesystem::path file_;
  std::mutex mutex_;
  std::atomic<bool> given_ = false;
  uintmax_t wanted_ = 0;  // bytes, once it was looked at
  std::chrono::steady_clock::time_point next_look_{};
};

}  // namespace syncbn::coordinator
