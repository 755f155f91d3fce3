// An open file descriptor, closed on the way out.
#pragma once

#include <unistd.h>

#include <utility>

namespace syncbn {

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(other.Release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  // -1: none.
  int get() const { return fd_; }
  // The caller closes it.
  int Release() { return std::exchange(fd_, -1); }
  // close(2) can report a write error that nothing else does (NFS, quotas).
  bool Close() { return ::close(Release()) == 0; }

 private:
  int fd_;
};

}  // namespace syncbn
