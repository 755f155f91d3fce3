#include "coordinator/launch/rank_relay.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "coordinator/launch/rank_stream.h"

namespace syncbn::coordinator {
namespace {

// What the rank may be ahead of its launcher; then it waits, as it would without a relay.
constexpr size_t kMostHeld = 64 * 1024;
// srun takes a line of more than 1,024 bytes apart.
constexpr size_t kLongestLine = 900;
constexpr const char* kRelayed = "relayed";
// For what the rank left behind in its pipes. A process of its own may hold them open for longer.
constexpr int kDrainMilliseconds = 1000;

class Relay {
 public:
  Relay(pid_t rank, const int outputs[2], bool lines)
      : rank_(rank),
        end_(static_cast<int>(::syscall(SYS_pidfd_open, rank, 0))),
        outputs_{outputs[0], outputs[1]},
        lines_(lines) {
    for (const int output : outputs_) ::fcntl(output, F_SETFL, O_NONBLOCK);
    ::fcntl(STDOUT_FILENO, F_SETFL, ::fcntl(STDOUT_FILENO, F_GETFL) | O_NONBLOCK);
  }

  // Until the rank has ended and all it printed is passed on. Its status as waitpid tells it.
  int Run() {
    int status = 0;
    bool ended = false;
    while (true) {
      const bool open = outputs_[0] >= 0 || outputs_[1] >= 0;
      if (ended && !open && held_.empty() && !Tell(status)) return status;
      const bool room = held_.size() < kMostHeld;
      pollfd polled[4] = {{ended ? -1 : end_, POLLIN, 0},
                          {room ? outputs_[0] : -1, POLLIN, 0},
                          {room ? outputs_[1] : -1, POLLIN, 0},
                          {held_.empty() ? -1 : STDOUT_FILENO, POLLOUT, 0}};
      const int ready = ::poll(polled, 4, ended && held_.empty() ? kDrainMilliseconds : -1);
      // What still holds them open is another process.
      if (ready == 0) Close();
      for (const int stream : {0, 1}) {
        if (polled[1 + stream].revents != 0) Take(stream);
      }
      if (polled[3].revents != 0) Send();
      if (!ended) ended = ::waitpid(rank_, &status, WNOHANG) == rank_;
    }
  }

 private:
  void Take(int stream) {
    char buffer[16 * 1024];
    const ssize_t count = ::read(outputs_[stream], buffer, sizeof buffer);
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (count <= 0) {
      ::close(outputs_[stream]);
      outputs_[stream] = -1;
      return;
    }
    Hold(encoder_.Encode(stream, {buffer, static_cast<size_t>(count)}));
  }
  // How it ended, once; false when there is nothing more to send.
  bool Tell(int status) {
    if (std::exchange(told_, true)) return false;
    Hold(encoder_.End(WIFEXITED(status) ? WEXITSTATUS(status) : 0,
                      WIFSIGNALED(status) ? WTERMSIG(status) : 0));
    return !held_.empty();
  }
  void Close() {
    for (int& output : outputs_) {
      if (output >= 0) ::close(output);
      output = -1;
    }
  }
  void Hold(const std::string& text) {
    if (!lines_) {
      held_ += text;
      return;
    }
    for (size_t at = 0; at < text.size(); at += kLongestLine) {
      held_.append(text, at, kLongestLine);
      held_ += '\n';
    }
  }
  void Send() {
    const ssize_t count = ::write(STDOUT_FILENO, held_.data(), held_.size());
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) return;
    // Nobody reads any more: the rank must not wait for that.
    held_.erase(0, count < 0 ? held_.size() : static_cast<size_t>(count));
  }

  const pid_t rank_;
  const int end_;  // readable once the rank has ended
  int outputs_[2];
  const bool lines_;
  RankEncoder encoder_;
  std::string held_;
  bool told_ = false;
};

[[noreturn]] void EndAs(int status) {
  if (WIFSIGNALED(status)) {
    // The rank has left the core file, if there is one.
    const rlimit none{};
    ::setrlimit(RLIMIT_CORE, &none);
    ::signal(WTERMSIG(status), SIG_DFL);
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, WTERMSIG(status));
    ::raise(WTERMSIG(status));
    ::sigprocmask(SIG_UNBLOCK, &one, nullptr);
  }
  ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

}  // namespace

void RelayOutputIfWanted() {
  const char* wanted = std::getenv(kRankRelayVariable);
  if (wanted == nullptr) return;
  // As on mpirun's terminal.
  const auto print_by_lines = [] { std::setvbuf(stdout, nullptr, _IOLBF, 0); };
  if (std::strcmp(wanted, kRelayed) == 0) return print_by_lines();
  const bool lines = std::strcmp(wanted, "lines") == 0;
  ::setenv(kRankRelayVariable, kRelayed, 1);
  int out[2], error[2];
  if (::pipe2(out, O_CLOEXEC) != 0) return;
  if (::pipe2(error, O_CLOEXEC) != 0) {
    ::close(out[0]), ::close(out[1]);
    return;
  }
  // The relay outlives what asks or tells the rank to end.
  sigset_t all, before;
  sigfillset(&all);
  ::sigprocmask(SIG_BLOCK, &all, &before);
  const pid_t launcher = ::getppid(), relay = ::getpid();
  const pid_t rank = ::fork();
  if (rank <= 0) {
    if (rank == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != relay) ::raise(SIGKILL);
      ::dup2(out[1], STDOUT_FILENO);
      ::dup2(error[1], STDERR_FILENO);
      print_by_lines();
    }
    for (const int end : {out[0], out[1], error[0], error[1]}) ::close(end);
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    return;
  }
  ::prctl(PR_SET_NAME, kRankRelayName);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != launcher) ::raise(SIGKILL);
  ::close(out[1]);
  ::close(error[1]);
  const int outputs[2] = {out[0], error[0]};
  EndAs(Relay(rank, outputs, lines).Run());
}

}  // namespace syncbn::coordinator
