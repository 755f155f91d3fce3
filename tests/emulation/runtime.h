// What a test asks of the emulated runtime, and sets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace syncbn::emulation {

struct Delays {
  // How often a stream rests before what it does next, and for at most how long.
  double share = 0.05;
  int microseconds = 200;
};
void SetDelays(Delays delays);

// How often the host has waited for the device, or was stopped by a call that has to.
int64_t HostSynchronizations();
// Kernels, copies and fills that streams were given.
int64_t OperationsGiven();
// Bytes that streams were told to copy from the host to the device.
int64_t BytesUploaded();
// What the first kernel that failed did wrong; empty: none has. From then on every call fails.
std::string FirstFault();
// Forgets it, for tests that plant mistakes. No stream may exist.
void ForgetFault();
// What this rank of any communicator launches as its n-th (from 0) and later never ends; where
// `error`, NCCL knows of an error then. -1: it cannot join. Programs:
// SYNCBN_EMULATION_BREAK_NCCL=RANK:LAUNCH:hang|error.
struct NcclBreak {
  int rank = -1;
  int64_t launch = 0;
  bool error = false;
};
void BreakNccl(NcclBreak planned);
// This device does nothing until another is named; -1: none.
void HoldDevice(int device);
// From now on cudaEventQuery does not return on this device, as where another thread waits for it and
// holds the driver's lock; until another is named (-1: none) or a communicator of NCCL is aborted,
// which frees the device and so the lock.
void HoldQueries(int device);
// How much memory the devices have together; 4 GiB to begin with.
void SetDeviceBytes(size_t bytes);
// The compute mode of the devices. Where that is cudaComputeModeExclusiveProcess another process
// has them.
void SetComputeMode(int mode);
// Whether the devices are parts of one GPU (MIG), and so in one place of the host.
void SetPartsOfOneGpu(bool parts);
// Blocks of device memory that are not free.
int64_t BlocksInUse();
// Calls of cudaHostAlloc so far, and the bytes that they were asked for.
int64_t PinnedAllocations();
int64_t PinnedBytesAllocated();

}  // namespace syncbn::emulation
