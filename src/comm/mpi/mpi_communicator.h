// The MPI transport. Includes MPI headers: for src/comm/mpi only.
//
// Heads travel with tag 0 into a ring of receives that are posted beforehand, together with bodies up
// to kCopiedBytes; a longer body follows in a message of its own, whose tag the head tells, straight into
// the memory that the handler gives.
#pragma once

#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

#include <array>
#include <memory>
#include <mutex>
#include <vector>

#include "comm/communicator.h"

namespace syncbn::comm {

// What all communicators of a process share.
struct MpiRuntime {
  // MPI_THREAD_SERIALIZED: held around every call of MPI.
  std::mutex mutex;
  // Buffers of communicators that were abandoned: MPI may still write to them until the process ends.
  std::vector<std::shared_ptr<void>> abandoned;
};

// Throws UNAVAILABLE with MPI's text unless `code` is MPI_SUCCESS.
void CheckMpi(int code, const char* call);

class MpiCommunicator : public Communicator {
 public:
  // Takes over `comm`, which nobody else may use.
  MpiCommunicator(std::shared_ptr<MpiRuntime> runtime, MPI_Comm comm);
  ~MpiCommunicator() override;

  std::string_view transport() const override { return "mpi"; }
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void Send(int to, std::span<const std::byte> head, std::span<const std::byte> body,
            std::shared_ptr<void> keep_alive) override;
  bool Progress(MessageHandler& handler, IfBusy if_busy) override;
  void Idle(int polls) override;
  bool Sending() override;
  std::vector<std::string> AllGather(std::string_view mine,
                                     std::chrono::milliseconds timeout) override;
  std::unique_ptr<Communicator> Duplicate() override;
  std::unique_ptr<NativeCollectives> MakeNative(
      const std::vector<std::vector<int>>& rank_sets) override;
  void Abandon() override { abandoned_ = true; }
  [[noreturn]] void Abort(int exit_code) override;

 private:
  // Precedes the head on the wire.
  struct Envelope {
    uint32_t head_bytes = 0;
    // 0: the body follows at once.
    int32_t body_tag = 0;
    uint64_t body_bytes = 0;
  };
  static constexpr size_t kPacketBytes = sizeof(Envelope) + kMaxHeadBytes + kCopiedBytes;
  static constexpr size_t kRing = 16;
  using Packet = std::array<std::byte, kPacketBytes>;

  // A long body on its way here; several parts when it exceeds what MPI counts in an int.
  struct Incoming {
    int from = 0;
    Landing landing;
    int parts = 0;
  };

  // All under the runtime's mutex.
  void PostReceive(size_t slot);
  void Deliver(MessageHandler& handler, const Packet& packet, int from);
  bool FinishBodies(MessageHandler& handler);
  bool FinishSends();
  std::shared_ptr<Packet> TakePacket();
  // Waits for a request of a collective operation, sharing MPI with other threads.
  void Complete(MPI_Request& request, std::chrono::milliseconds timeout, const char* what);

  const std::shared_ptr<MpiRuntime> runtime_;
  MPI_Comm comm_;
  int rank_ = 0;
  int size_ = 0;
  int largest_tag_ = 0;
  int next_body_tag_ = 1;
  bool abandoned_ = false;

  std::shared_ptr<std::array<Packet, kRing>> ring_;
  std::array<MPI_Request, kRing> ring_requests_;
  size_t ring_next_ = 0;
  // Parallel vectors, as MPI_Testsome wants them.
  std::vector<MPI_Request> body_requests_;
  std::vector<std::shared_ptr<Incoming>> bodies_;
  std::vector<MPI_Request> send_requests_;
  std::vector<std::shared_ptr<void>> sending_;
  std::vector<std::shared_ptr<Packet>> free_packets_;
  std::vector<int> finished_;  // scratch
};

}  // namespace syncbn::comm
