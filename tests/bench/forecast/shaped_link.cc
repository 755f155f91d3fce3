// A link of a latency and a bandwidth between two network namespaces of this machine, for kernels
// that have no netem: two TUN devices, and this process between them.
//
//   shaped_link link NETNS ADDRESS NETNS ADDRESS --delay-us N --rate-mbit N
//       is the link until it is ended; says "up"
//   shaped_link answer PORT
//       answers the next; says "up"
//   shaped_link measure ADDRESS PORT
//       medians: half a TCP round trip of a small message in microseconds, and the rate of 8 MiB
//       both ways at once in Mbit/s each way
//
// A packet leaves when the one before it has (length / rate) and arrives `delay` later; none is
// lost. The first needs root; it asks for a real-time priority, so that computing processes do not
// delay it.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using Nanoseconds = std::chrono::nanoseconds;

// Large packets: their number, not their bytes, costs this process time.
constexpr int kMtu = 65000;

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "shaped_link: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

int Must(int result, const std::string& what) {
  if (result < 0) Die(what);
  return result;
}

sockaddr_in AddressOf(const std::string& text, int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (::inet_pton(AF_INET, text.c_str(), &address.sin_addr) != 1) {
    errno = EINVAL;
    Die("address " + text);
  }
  return address;
}

// This thread is in the namespace afterwards.
int OpenTun(const std::string& netns, const std::string& address) {
  const int name_space = Must(::open(("/run/netns/" + netns).c_str(), O_RDONLY | O_CLOEXEC), netns);
  Must(::setns(name_space, CLONE_NEWNET), "enter " + netns);
  ::close(name_space);
  const int tun = Must(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), "/dev/net/tun");
  ifreq request{};
  std::strncpy(request.ifr_name, "shaped", IFNAMSIZ - 1);
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  Must(::ioctl(tun, TUNSETIFF, &request), "make a TUN device");
  const int socket = Must(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
  const sockaddr_in own = AddressOf(address, 0), mask = AddressOf("255.255.255.0", 0);
  std::memcpy(&request.ifr_addr, &own, sizeof own);
  Must(::ioctl(socket, SIOCSIFADDR, &request), "set " + address);
  std::memcpy(&request.ifr_netmask, &mask, sizeof mask);
  Must(::ioctl(socket, SIOCSIFNETMASK, &request), "set the mask");
  request.ifr_mtu = kMtu;
  Must(::ioctl(socket, SIOCSIFMTU, &request), "set the MTU");
  request.ifr_qlen = 10000;
  Must(::ioctl(socket, SIOCSIFTXQLEN, &request), "set the queue");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  Must(::ioctl(socket, SIOCSIFFLAGS, &request), "set it up");
  ::close(socket);
  return tun;
}

struct Packet {
  Clock::time_point arrives;
  std::vector<char> bytes;
};

struct Direction {
  int from = -1, to = -1;
  Clock::time_point free{};
  std::deque<Packet> flying;
};

void Relay(Direction (&directions)[2], Nanoseconds delay, double bytes_per_ns) {
  std::vector<char> buffer(65536);
  while (true) {
    pollfd polled[2] = {{directions[0].from, POLLIN, 0}, {directions[1].from, POLLIN, 0}};
    timespec wait{.tv_sec = 1, .tv_nsec = 0};
    for (const Direction& direction : directions) {
      if (direction.flying.empty()) continue;
      const Nanoseconds left = std::max(
          Nanoseconds(0),
          std::chrono::duration_cast<Nanoseconds>(direction.flying.front().arrives - Clock::now()));
      const timespec until{.tv_sec = left.count() / 1'000'000'000,
                           .tv_nsec = left.count() % 1'000'000'000};
      if (std::pair(until.tv_sec, until.tv_nsec) < std::pair(wait.tv_sec, wait.tv_nsec))
        wait = until;
    }
    if (::ppoll(polled, 2, &wait, nullptr) < 0 && errno != EINTR) Die("ppoll");
    for (Direction& direction : directions) {
      ssize_t length = 0;
      while ((length = ::read(direction.from, buffer.data(), buffer.size())) > 0) {
        const Clock::time_point leaves = std::max(Clock::now(), direction.free);
        direction.free =
            leaves + Nanoseconds(static_cast<int64_t>(static_cast<double>(length) / bytes_per_ns));
        direction.flying.push_back(
            {direction.free + delay, {buffer.data(), buffer.data() + length}});
      }
      const Clock::time_point now = Clock::now();
      while (!direction.flying.empty() && direction.flying.front().arrives <= now) {
        const std::vector<char>& bytes = direction.flying.front().bytes;
        // A device that takes no more now loses the packet, as a wire would.
        [[maybe_unused]] const ssize_t written = ::write(direction.to, bytes.data(), bytes.size());
        direction.flying.pop_front();
      }
    }
  }
}

int Link(const std::vector<std::string>& words) {
  if (words.size() != 9 || words[5] != "--delay-us" || words[7] != "--rate-mbit") return 2;
  Direction directions[2];
  directions[0].from = OpenTun(words[1], words[2]);
  directions[0].to = OpenTun(words[3], words[4]);
  directions[1].from = directions[0].to;
  directions[1].to = directions[0].from;
  const sched_param priority{.sched_priority = 10};
  if (::sched_setscheduler(0, SCHED_FIFO, &priority) != 0) {
    std::fprintf(stderr, "shaped_link: no real-time priority: %s\n", std::strerror(errno));
  }
  ::prctl(PR_SET_TIMERSLACK, 1);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  std::printf("up\n");
  std::fflush(stdout);
  Relay(directions, Nanoseconds(static_cast<int64_t>(std::stod(words[6]) * 1e3)),
        std::stod(words[8]) * 1e6 / 8 / 1e9);
  return 0;
}

// A message is its length, 8 bytes, and as many bytes; the answer is one byte and as many, sent at
// the same time: what processes do to each other in a reduction.
void Write(int peer, const std::vector<char>& bytes) {
  for (size_t sent = 0; sent < bytes.size();) {
    sent += static_cast<size_t>(
        Must(static_cast<int>(::write(peer, bytes.data() + sent, bytes.size() - sent)), "write"));
  }
}

void Read(int peer, int64_t left) {
  std::vector<char> buffer(1 << 20);
  while (left > 0) {
    const auto most =
        static_cast<size_t>(std::min<int64_t>(left, static_cast<int64_t>(buffer.size())));
    const ssize_t got = ::read(peer, buffer.data(), most);
    if (got <= 0) Die("read");
    left -= got;
  }
}

int Answer(int port) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  const int listening = Must(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  const int on = 1;
  ::setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const sockaddr_in any = AddressOf("0.0.0.0", port);
  Must(::bind(listening, reinterpret_cast<const sockaddr*>(&any), sizeof any), "bind");
  Must(::listen(listening, 1), "listen");
  std::printf("up\n");
  std::fflush(stdout);
  const int peer = Must(::accept(listening, nullptr, nullptr), "accept");
  ::setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  int64_t length = 0;
  while (::recv(peer, &length, sizeof length, MSG_WAITALL) == sizeof length) {
    const std::vector<char> answer(1 + static_cast<size_t>(length));
    std::jthread writer([&] { Write(peer, answer); });
    Read(peer, length);
  }
  return 0;
}

double SecondsOf(int peer, int64_t bytes) {
  std::vector<char> message(sizeof bytes + static_cast<size_t>(bytes));
  std::memcpy(message.data(), &bytes, sizeof bytes);
  const Clock::time_point start = Clock::now();
  {
    std::jthread writer;
    if (bytes > 0) {
      writer = std::jthread([&] { Write(peer, message); });
    } else {
      Write(peer, message);
    }
    Read(peer, 1 + bytes);
  }
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

int Measure(const std::string& address, int port) {
  const int peer = Must(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  const sockaddr_in there = AddressOf(address, port);
  Must(::connect(peer, reinterpret_cast<const sockaddr*>(&there), sizeof there), "connect");
  const int on = 1;
  ::setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  std::vector<double> small, large;
  for (int i = 0; i < 200; ++i) small.push_back(SecondsOf(peer, 0));
  constexpr int64_t kBytes = 8 << 20;
  for (int i = 0; i < 8; ++i) large.push_back(SecondsOf(peer, kBytes));
  std::printf("%.2f %.1f\n", 1e6 * Median(small) / 2,
              8e-6 * static_cast<double>(kBytes) / (Median(large) - Median(small)));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  int code = 2;
  if (!words.empty() && words[0] == "link") code = Link(words);
  if (words.size() == 2 && words[0] == "answer") code = Answer(std::stoi(words[1]));
  if (words.size() == 3 && words[0] == "measure") code = Measure(words[1], std::stoi(words[2]));
  if (code == 2)
    std::fprintf(stderr, "shaped_link: see the head of tests/bench/forecast/shaped_link.cc\n");
  return code;
}
