// This process's one place in MPI: a communicator of all processes, over which the channels of all
// MpiCommunicators are multiplexed. Includes MPI headers: for src/comm/mpi only.
//
// Channels are numbers in the heads of messages and not communicators of MPI, since those cannot be made
// without the others' consent, nor given up reliably after a failure.
//
// Heads travel with tag 0 into a ring of receives that are posted beforehand, together with bodies up to
// kCopiedBytes; a longer body follows in messages of its own, whose tags the head tells, straight into the
// memory that the handler gives.
#pragma once

#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "comm/communicator.h"

namespace syncbn::comm {

// Throws UNAVAILABLE with MPI's text unless `code` is MPI_SUCCESS.
void CheckMpi(int code, const char* call);

// What precedes the head on the wire.
struct Envelope {
  uint32_t channel = 0;
  uint32_t head_bytes = 0;
  uint64_t body_bytes = 0;
  // 0: the body follows at once.
  int32_t body_tag = 0;
  int32_t unused = 0;
};

using Packet =
    std::array<std::byte, sizeof(Envelope) + Communicator::kMaxHeadBytes + Communicator::kCopiedBytes>;

// Requests and what must live as long as MPI works on them.
struct MpiRequests {
  std::vector<MPI_Request> requests;
  std::vector<std::shared_ptr<void>> owners;

  void Add(MPI_Request request, std::shared_ptr<void> owner);
  // Drops what is done; appends its owners to `done` if that is given.
  void Test(std::vector<std::shared_ptr<void>>* done);
  void MoveTo(MpiRequests& other);
};

struct MpiPort {
  // Throws UNAVAILABLE. MPI must be initialized.
  MpiPort();
  // Must come before MPI_Finalize.
  ~MpiPort();

  // -- All under mutex ---------------------------------------------------------------------------------
  // MPI_THREAD_SERIALIZED: held around every call of MPI.
  std::mutex mutex;

  // The next number, which is the same on all processes that open channels in the same order.
  uint32_t OpenChannel();
  // What still arrives for the channel is thrown away.
  void CloseChannel(uint32_t channel);
  // The next packet of the channel, in order of arrival; null if there is none. Packets of other channels
  // are put aside.
  std::shared_ptr<Packet> Receive(uint32_t channel, int& from);
  // Receives a body that is announced by `envelope` into memory that `owner` holds.
  void ReceiveBody(const Envelope& envelope, int from, std::byte* memory,
                   const std::shared_ptr<void>& owner, MpiRequests& requests);
  // First of `parts` consecutive tags that are not in use.
  int TakeBodyTags(int parts);
  // How many messages a long body is sent in: MPI counts bytes in an int.
  static int PartsOf(uint64_t bytes);
  static constexpr uint64_t kPartBytes = uint64_t{1} << 30;

  std::shared_ptr<Packet> TakePacket();
  void GiveBack(std::shared_ptr<Packet> packet) { free_packets_.push_back(std::move(packet)); }

  MPI_Comm comm = MPI_COMM_NULL;
  int rank = 0;
  int size = 0;
  // Of closed channels, and of operations of the library that failed: MPI may work on them until the
  // process ends.
  MpiRequests orphans;
  std::vector<std::shared_ptr<void>> abandoned;

 private:
  struct Aside {
    std::shared_ptr<Packet> packet;
    int from = 0;
  };
  static constexpr size_t kRing = 16;

  void Post(size_t slot);
  void Discard(const Envelope& envelope, int from);

  std::array<std::shared_ptr<Packet>, kRing> ring_;
  std::array<MPI_Request, kRing> ring_requests_;
  size_t ring_next_ = 0;
  uint32_t next_channel_ = 0;
  // Open channels, and those that others have opened before us.
  std::map<uint32_t, std::deque<Aside>> aside_;
  int largest_tag_ = 32767;
  int next_body_tag_ = 1;
  std::vector<std::shared_ptr<Packet>> free_packets_;
};

}  // namespace syncbn::comm
