// The MPI transport: one channel of the process's MpiPort. Includes MPI headers: for src/comm/mpi only.
#pragma once

#include "comm/mpi/mpi_port.h"

namespace syncbn::comm {

class MpiCommunicator : public Communicator {
 public:
  explicit MpiCommunicator(std::shared_ptr<MpiPort> port);
  ~MpiCommunicator() override;

  std::string_view transport() const override { return "mpi"; }
  int rank() const override { return port_->rank; }
  int size() const override { return port_->size; }
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
  [[noreturn]] void Abort(int exit_code) override;

 private:
  // A long body on its way here.
  struct Incoming {
    int from = 0;
    ReceiveBuffer buffer;
    int parts = 0;
  };

  // Both under the port's mutex.
  void Deliver(MessageHandler& handler, const Packet& packet, int from);
  bool FinishBodies(MessageHandler& handler);
  // Waits for a request of a collective operation, sharing MPI with other threads.
  void Complete(MPI_Request& request, std::chrono::milliseconds timeout, const char* what);

  const std::shared_ptr<MpiPort> port_;
  uint32_t channel_ = 0;
  MpiRequests bodies_;
  MpiRequests sends_;
  unsigned progress_calls_ = 0;
};

}  // namespace syncbn::comm
