#include "app/signals.h"

#include <atomic>
#include <csignal>

namespace syncbn::app {
namespace {

// A signal handler can reach only what is static; SignalWishes is its one user.
std::atomic<bool> checkpoint_wanted{false};
std::atomic<bool> stop_wanted{false};

void OnCheckpoint(int) { checkpoint_wanted = true; }

void OnStop(int number) {
  if (stop_wanted.exchange(true)) {
    // The default action now: the user insists.
    std::signal(number, SIG_DFL);
    std::raise(number);
  }
}

}  // namespace

SignalWishes::SignalWishes() {
  checkpoint_wanted = false;
  stop_wanted = false;
  std::signal(SIGUSR1, OnCheckpoint);
  std::signal(SIGTERM, OnStop);
  std::signal(SIGINT, OnStop);
}

SignalWishes::~SignalWishes() {
  for (int number : {SIGUSR1, SIGTERM, SIGINT}) std::signal(number, SIG_DFL);
}

train::Wishes SignalWishes::Take() {
  return {.checkpoint = checkpoint_wanted.exchange(false), .stop = stop_wanted.load()};
}

}  // namespace syncbn::app
