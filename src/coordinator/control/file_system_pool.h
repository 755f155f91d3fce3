// Blocking calls to file systems that may hang: a network file system that does not answer blocks
// whoever looks at it, for hours. So a few threads of their own do that, and who wants to know
// waits for a bounded time: neither the store's writer nor the threads that serve everybody wait
// with it. What hangs is named, and not looked at again while it does, so that it does not take all
// threads from what answers.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <type_traits>

namespace syncbn::coordinator {

class FileSystemPool {
 public:
  struct Options {
    int threads = 16;
    // For a look; when all threads have been busy with one for longer, or another has been at the
    // same thing for longer, it is refused at once.
    std::chrono::milliseconds patience = std::chrono::seconds(10);
  };

  explicit FileSystemPool(Options options);
  // Looks that hang are left behind with their threads.
  ~FileSystemPool();
  FileSystemPool(const FileSystemPool&) = delete;
  FileSystemPool& operator=(const FileSystemPool&) = delete;

  // What look() returns or throws. UNAVAILABLE (FILE_SYSTEM_SLOW) when it takes too long, naming
  // what it is at: `what` (a folder), or what NowAccessing has said since. It may go on then, so it
  // must own all that it uses. Thread-safe.
  template <typename Look>
  auto Run(const std::string& what, Look look) -> std::invoke_result_t<Look> {
    auto task = std::make_shared<std::packaged_task<std::invoke_result_t<Look>()>>(std::move(look));
    auto result = task->get_future();
    const std::shared_ptr<Entry> entry = Post([task] { (*task)(); }, what);
    if (result.wait_for(options_.patience) != std::future_status::ready) ThrowTooSlow(*entry);
    try {
      return result.get();
    } catch (const std::filesystem::filesystem_error& error) {
      ThrowCannotLook(*entry, error.code());
    }
  }

 private:
  friend void NowAccessing(const std::string& what);
  struct Entry;
  struct State;
  static void Loop(const std::shared_ptr<State>& state);
  std::shared_ptr<Entry> Post(std::function<void()> task, const std::string& what);
  [[noreturn]] void ThrowTooSlow(Entry& entry) const;
  [[noreturn]] void ThrowCannotLook(const Entry& entry, const std::error_code& why) const;

  const Options options_;
  std::shared_ptr<State> state_;
};

// Within a look: what it is at from here on ("the output root /nfs/out"). Throws UNAVAILABLE
// (FILE_SYSTEM_SLOW) where an earlier look hangs there. Elsewhere without effect.
void NowAccessing(const std::string& what);

}  // namespace syncbn::coordinator
