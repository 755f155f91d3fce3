// Where the memory of a tensor lies.
//
// The memory of the host may be looked at by everybody. That of another device belongs to its back end:
// all else handles its tensors as opaque things, and gets at values through Tensor::OnHost.
#pragma once

#include <cstddef>
#include <string_view>

namespace syncbn {

// Thread-safe; lives as long as the process.
class Device {
 public:
  virtual ~Device() = default;
  // "host", "cuda:0"
  virtual std::string_view name() const = 0;
  // Copies memory of the device to the host, once everything that was given to any of its streams before
  // is done. Sleeps until the copy is there.
  virtual void CopyToHost(const void* from, void* to, size_t bytes) const = 0;

  static const Device& Host();
};

}  // namespace syncbn
