#include "tensor/device.h"

#include <cstring>

namespace syncbn {
namespace {

class HostDevice final : public Device {
 public:
  std::string_view name() const override { return "host"; }
  void CopyToHost(const void* from, void* to, size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }
};

}  // namespace

const Device& Device::Host() {
  static const HostDevice host;
  return host;
}

}  // namespace syncbn
