#include "backend/checked/checked_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "backend/checked/stream_order.h"
#include "base/check.h"
#include "base/error.h"

namespace syncbn::backend::checked {
namespace {

// One file, mapped twice. Blocks are powers of two and are used again; the file takes memory where it was
// written to.
class Memory {
 public:
  static Memory& Get() {
    static Memory* const memory = new Memory;  // tensors may outlive everything
    return *memory;
  }

  std::shared_ptr<void> Allocate(size_t bytes) {
    const size_t size = std::bit_ceil(bytes < 64 ? size_t{64} : bytes);
    const std::lock_guard lock(mutex_);
    std::byte* block = nullptr;
    std::vector<std::byte*>& free = free_[size];
    if (!free.empty()) {
      block = free.back();
      free.pop_back();
    } else {
      SYNCBN_CHECK_LE(used_ + size, kSize) << "memory of the checked device";
      block = inside_ + used_;
      used_ += size;
    }
    return {block, [this, block, size](void*) {
              const std::lock_guard lock(mutex_);
              free_[size].push_back(block);
            }};
  }

  bool Holds(const std::byte* inside) const {
    return inside >= inside_ && inside < inside_ + kSize;
  }
  ptrdiff_t shift() const { return outside_ - inside_; }
  Granule* GranuleOf(const std::byte* outside) const {
    return granules_ + (outside - outside_) / kGranule;
  }

 private:
  static constexpr ptrdiff_t kGranule = 64;
  static constexpr size_t kSize = size_t{8} << 30;

  Memory() {
    const int file = ::memfd_create("syncbn checked device", MFD_CLOEXEC);
    if (file < 0 || ::ftruncate(file, static_cast<off_t>(kSize)) != 0) Fail();
    inside_ = Map(file, kSize, PROT_READ | PROT_WRITE, MAP_SHARED);
    outside_ = Map(file, kSize, PROT_NONE, MAP_SHARED);
    ::close(file);
    granules_ = reinterpret_cast<Granule*>(Map(-1, kSize / kGranule * sizeof(Granule),
                                               PROT_READ | PROT_WRITE,
                                               MAP_PRIVATE | MAP_ANONYMOUS));
  }

  static std::byte* Map(int file, size_t bytes, int protection, int flags) {
    void* const address = ::mmap(nullptr, bytes, protection, flags | MAP_NORESERVE, file, 0);
    if (address == MAP_FAILED) Fail();
    return static_cast<std::byte*>(address);
  }
  [[noreturn]] static void Fail() {
    throw Error(ErrorCode::kResourceExhausted,
                "the memory of the checked device could not be mapped: " +
                    std::string(std::strerror(errno)));
  }

  std::byte* inside_ = nullptr;
  std::byte* outside_ = nullptr;
  Granule* granules_ = nullptr;
  std::mutex mutex_;
  size_t used_ = 0;
  std::map<size_t, std::vector<std::byte*>> free_;
};

class Checked final : public Device {
 public:
  std::string_view name() const override { return "checked"; }
  void CopyToHost(const void* from, void* to, size_t bytes) const override {
    StreamOrder::WaitForAllOnHost();
    std::memcpy(to, static_cast<const std::byte*>(from) - Memory::Get().shift(), bytes);
  }
};

}  // namespace

const Device& CheckedDevice() {
  static const Checked* const device = new Checked;
  return *device;
}

std::shared_ptr<void> AllocateInside(size_t bytes) { return Memory::Get().Allocate(bytes); }

std::span<Granule> GranulesOf(const Tensor& x) {
  const std::byte* const begin = x.DeviceAddress();
  const Granule* const last = Memory::Get().GranuleOf(begin + x.bytes() - 1);
  Granule* const first = Memory::Get().GranuleOf(begin);
  return {first, static_cast<size_t>(last - first + 1)};
}

void CheckIsOfDevice(const Tensor& x) {
  SYNCBN_CHECK(!x.defined() || &x.device() == &CheckedDevice())
      << "an operation of the checked device is given a tensor " << x.shape() << " of the "
      << x.device().name() << ": bring it there with ToDevice";
}

Tensor Inside(Tensor x) {
  CheckIsOfDevice(x);
  if (!x.defined()) return x;
  return std::move(x).Mapped(Device::Host(), -Memory::Get().shift());
}

Tensor Outside(Tensor x) {
  if (!x.defined()) return x;
  SYNCBN_CHECK(Memory::Get().Holds(x.DeviceAddress()))
      << "a result " << x.shape() << " does not lie in the memory of the checked device";
  return std::move(x).Mapped(CheckedDevice(), Memory::Get().shift());
}

}  // namespace syncbn::backend::checked
