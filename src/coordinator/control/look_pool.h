// Looks at file systems that may hang: a network file system that does not answer keeps whoever
// looks at it, for hours. So looks are done by a few threads of their own, and who wants to know
// waits for a bounded time: neither the store's writer nor the threads that serve everybody wait
// with it.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <type_traits>

namespace syncbn::coordinator {

class LookPool {
 public:
  struct Options {
    int threads = 8;
    // For a look; when all threads have been busy with one for longer, others are refused at once.
    std::chrono::milliseconds patience = std::chrono::seconds(10);
  };

  explicit LookPool(Options options);
  // Looks that hang are left behind with their threads.
  ~LookPool();
  LookPool(const LookPool&) = delete;
  LookPool& operator=(const LookPool&) = delete;

  // What look() returns or throws. UNAVAILABLE, naming `what` (a folder), when it takes too long:
  // it may go on then, so it must own all that it uses. Thread-safe.
  template <typename Look>
  auto Run(const std::string& what, Look look) -> std::invoke_result_t<Look> {
    auto task = std::make_shared<std::packaged_task<std::invoke_result_t<Look>()>>(std::move(look));
    auto result = task->get_future();
    Post([task] { (*task)(); }, what);
    if (result.wait_for(options_.patience) != std::future_status::ready) ThrowTooSlow(what);
    try {
      return result.get();
    } catch (const std::filesystem::filesystem_error& error) {
      ThrowCannotLook(what, error.code());
    }
  }

 private:
  struct State;
  static void Loop(const std::shared_ptr<State>& state);
  void Post(std::function<void()> task, const std::string& what);
  [[noreturn]] void ThrowTooSlow(const std::string& what) const;
  [[noreturn]] static void ThrowCannotLook(const std::string& what, const std::error_code& why);

  const Options options_;
  std::shared_ptr<State> state_;
};

}  // namespace syncbn::coordinator
