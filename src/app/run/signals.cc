#include "app/run/signals.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstring>

namespace syncbn::app {
namespace {

// A signal handler can reach only what is static; SignalRequests is its one user.
std::atomic<bool> checkpoint_wanted{false};
std::atomic<bool> stop_wanted{false};
std::atomic<const char*> announcement{nullptr};

void OnCheckpoint(int) { checkpoint_wanted = true; }

void OnStop(int number) {
  if (stop_wanted.exchange(true)) {
    // The default action now: the user insists.
    std::signal(number, SIG_DFL);
    std::raise(number);
    return;
  }
  const char* text = announcement;
  if (text == nullptr) return;
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text, std::strlen(text));
}

}  // namespace

SignalRequests::SignalRequests(const char* on_stop) {
  announcement = on_stop;
  checkpoint_wanted = false;
  stop_wanted = false;
  std::signal(SIGUSR1, OnCheckpoint);
  std::signal(SIGTERM, OnStop);
  std::signal(SIGINT, OnStop);
}

SignalRequests::~SignalRequests() {
  for (int number : {SIGUSR1, SIGTERM, SIGINT}) std::signal(number, SIG_DFL);
}

train::ControlRequests SignalRequests::Take() {
  return {.checkpoint = checkpoint_wanted.exchange(false), .stop = stop_wanted.load()};
}

StopOnSignal::StopOnSignal(const char* on_stop)
    : signals_(on_stop), watcher_([this](const std::stop_token& end) {
        while (!end.stop_requested() && !signals_.Take().stop) {
          std::this_thread::sleep_for(std::chrono::milliseconds(50));
        }
        if (!end.stop_requested()) stop_.request_stop();
      }) {}

}  // namespace syncbn::app
