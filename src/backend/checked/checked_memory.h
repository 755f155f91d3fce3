// Memory with two addresses: the device's, where nobody may look, and that of the operations.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace syncbn::backend::checked {

// The device on which all checked back ends of the process live.
const Device& CheckedDevice();

// Memory of the device, at the address of the operations.
std::shared_ptr<void> AllocateInside(size_t bytes);

// What was done last to 64 bytes of the device's memory (stream_order.h). All zeros: nothing.
struct Granule {
  uint64_t written = 0;
  uint64_t read = 0;
  // Reads that the last is not behind; null before there are any.
  std::vector<uint64_t>* other_reads = nullptr;
};
// Of a tensor of the device that has elements.
std::span<Granule> GranulesOf(const Tensor& x);

// Throws INTERNAL when a tensor is of another device. Undefined tensors are of any, and stay undefined below.
void CheckIsOfDevice(const Tensor& x);
// A tensor of the device as its operations see it.
Tensor Inside(Tensor x);
// The inverse. Throws INTERNAL when the memory is not the device's.
Tensor Outside(Tensor x);

}  // namespace syncbn::backend::checked
