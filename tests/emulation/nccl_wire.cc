#include "tests/emulation/nccl_wire.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace syncbn::emulation {

NcclWire::NcclWire(const std::string& name, int rank, int ranks)
    : name_(name), rank_(rank), ranks_(ranks) {
  const size_t pairs = static_cast<size_t>(ranks) * static_cast<size_t>(ranks);
  const size_t splits = sizeof(Split) * kMostSplits * static_cast<size_t>(ranks);
  bytes_ = 64 + splits + 64 + pairs * sizeof(NcclChannel);
  const int file = ::shm_open(name.c_str(), O_RDWR | O_CREAT, 0600);
  if (file < 0) throw std::runtime_error("shm_open: " + std::string(std::strerror(errno)));
  // New memory is zero, which is how everything begins.
  void* memory = MAP_FAILED;
  if (::ftruncate(file, static_cast<off_t>(bytes_)) == 0) {
    memory = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  }
  ::close(file);
  if (memory == MAP_FAILED)
    throw std::runtime_error("shared memory: " + std::string(std::strerror(errno)));
  auto* const begin = static_cast<std::byte*>(memory);
  shared_ = reinterpret_cast<Shared*>(begin);
  splits_ = reinterpret_cast<Split*>(begin + 64);
  channels_ = reinterpret_cast<NcclChannel*>(begin + 64 + (splits + 63) / 64 * 64);
  // The last to come takes the name away: nothing is left behind, however they end.
  if (shared_->joined.fetch_add(1) + 1 == ranks) ::shm_unlink(name.c_str());
}

NcclWire::~NcclWire() {
  ::munmap(shared_, bytes_);
}

bool NcclTransfer::Move() {
  if (done_) return false;
  return from_ != nullptr ? MoveOut() : MoveIn();
}

bool NcclTransfer::MoveOut() {
  NcclChannel& channel = *channel_;
  bool moved = false;
  if (!started_) {
    message_ = channel.sent;
    if (channel.taken != message_) return false;
    begin_ = channel.produced;
    channel.head = head_;
    channel.sent = message_ + 1;
    started_ = moved = true;
  }
  const uint64_t produced = begin_ + moved_;
  const uint64_t room = NcclChannel::kBuffer - (produced - channel.consumed);
  const uint64_t at = produced % NcclChannel::kBuffer;
  const uint64_t size = std::min({room, head_.bytes - moved_, uint64_t{NcclChannel::kBuffer} - at});
  if (size > 0) {
    std::memcpy(channel.buffer + at, from_ + moved_, size);
    moved_ += size;
    channel.produced = produced + size;
    moved = true;
  }
  done_ = moved_ == head_.bytes && channel.taken == message_ + 1;
  return moved || done_;
}

bool NcclTransfer::MoveIn() {
  NcclChannel& channel = *channel_;
  bool moved = false;
  if (!started_) {
    message_ = channel.taken;
    if (channel.sent != message_ + 1) return false;
    const NcclChannel::Head& other = channel.head;
    if (std::strcmp(other.call, head_.call) != 0 || other.number != head_.number ||
        other.bytes != head_.bytes) {
      const auto describe = [](const NcclChannel::Head& head) {
        return std::string(head.call) + " " + std::to_string(head.number) + " of " +
               std::to_string(head.bytes) + " bytes";
      };
      throw std::runtime_error("NCCL: ranks launch different calls: " + describe(head_) +
                               " here, " + describe(other) + " there");
    }
    begin_ = channel.consumed;
    started_ = moved = true;
  }
  const uint64_t consumed = begin_ + moved_;
  const uint64_t at = consumed % NcclChannel::kBuffer;
  const uint64_t size = std::min(
      {channel.produced - consumed, head_.bytes - moved_, uint64_t{NcclChannel::kBuffer} - at});
  if (size > 0) {
    std::memcpy(to_ + moved_, channel.buffer + at, size);
    moved_ += size;
    channel.consumed = consumed + size;
    moved = true;
  }
  if (moved_ == head_.bytes) {
    channel.taken = message_ + 1;
    done_ = true;
  }
  return moved || done_;
}

}  // namespace syncbn::emulation
