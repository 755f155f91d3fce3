// Pinned memory of the host, which a device copies from and to without stopping the host. Kept when
// it is given back: to pin memory takes milliseconds, and to unpin it stops the device.
#pragma once

#include <cstddef>
#include <memory>

namespace syncbn::backend::cuda {

// At least so many bytes. Thread-safe. Who gives it back makes sure that no copy still needs it.
std::shared_ptr<void> AllocatePinned(int device, size_t bytes);

}  // namespace syncbn::backend::cuda
