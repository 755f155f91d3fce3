#include "comm/mpi/mpi_communicator.h"

#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include "base/check.h"
#include "comm/mpi/mpi_native.h"

// What MPI_Abort of Open MPI does after it has explained at length that it was called: by then the
// error has been said. Other MPI libraries do not have it.
extern "C" __attribute__((weak)) int ompi_mpi_abort(MPI_Comm communicator, int exit_code);

namespace syncbn::comm {
namespace {

constexpr int kHeadTag = 0;

}  // namespace

MpiCommunicator::MpiCommunicator(std::shared_ptr<MpiPort> port) : port_(std::move(port)) {
  std::lock_guard lock(port_->mutex);
  channel_ = port_->OpenChannel();
}

MpiCommunicator::~MpiCommunicator() {
  std::lock_guard lock(port_->mutex);
  port_->CloseChannel(channel_);
  bodies_.MoveTo(port_->orphans);
  sends_.MoveTo(port_->orphans);
}

void MpiCommunicator::Send(int to, std::span<const std::byte> head, std::span<const std::byte> body,
                           std::shared_ptr<void> keep_alive) {
  SYNCBN_CHECK_LE(head.size(), kMaxHeadBytes);
  const bool together = body.size() <= kCopiedBytes;
  const int parts = together ? 0 : MpiPort::PartsOf(body.size());
  std::lock_guard lock(port_->mutex);
  const Envelope envelope{.channel = channel_,
                          .head_bytes = static_cast<uint32_t>(head.size()),
                          .body_bytes = body.size(),
                          .body_tag = together ? 0 : port_->TakeBodyTags(parts)};
  std::shared_ptr<Packet> packet = port_->TakePacket();
  std::byte* at = packet->data();
  std::memcpy(at, &envelope, sizeof envelope);
  at += sizeof envelope;
  std::memcpy(at, head.data(), head.size());
  at += head.size();
  if (together && !body.empty()) {
    std::memcpy(at, body.data(), body.size());
    at += body.size();
  }
  MPI_Request request;
  CheckMpi(MPI_Isend(packet->data(), static_cast<int>(at - packet->data()), MPI_BYTE, to, kHeadTag,
                     port_->comm, &request),
           "MPI_Isend");
  int sent = 0;
  CheckMpi(MPI_Test(&request, &sent, MPI_STATUS_IGNORE), "MPI_Test");
  if (sent) {
    port_->GiveBack(std::move(packet));
  } else {
    sends_.Add(request, std::move(packet));
  }
  for (int part = 0; part < parts; ++part) {
    const uint64_t begin = static_cast<uint64_t>(part) * MpiPort::kPartBytes;
    const uint64_t bytes = std::min<uint64_t>(MpiPort::kPartBytes, body.size() - begin);
    CheckMpi(MPI_Isend(body.data() + begin, static_cast<int>(bytes), MPI_BYTE, to,
                       envelope.body_tag + part, port_->comm, &request),
             "MPI_Isend");
    sends_.Add(request, keep_alive);
  }
}

bool MpiCommunicator::Progress(MessageHandler& handler, IfBusy if_busy) {
  std::unique_lock lock(port_->mutex, std::defer_lock);
  if (if_busy == IfBusy::kWait) {
    lock.lock();
  } else if (!lock.try_lock()) {
    return false;
  }
  bool any = false;
  int from = 0;
  while (std::shared_ptr<Packet> packet = port_->Receive(channel_, from)) {
    any = true;
    Deliver(handler, *packet, from);
    port_->GiveBack(std::move(packet));
  }
  any |= FinishBodies(handler);
  // Testing them only frees memory: their data move with any call.
  if (++progress_calls_ % 8 == 0) sends_.Test(nullptr);
  return any;
}

void MpiCommunicator::Deliver(MessageHandler& handler, const Packet& packet, int from) {
  Envelope envelope;
  std::memcpy(&envelope, packet.data(), sizeof envelope);
  const std::span<const std::byte> head(packet.data() + sizeof envelope, envelope.head_bytes);
  ReceiveBuffer buffer = handler.OnHead(from, head, envelope.body_bytes);
  if (envelope.body_tag == 0) {
    if (envelope.body_bytes > 0) {
      std::memcpy(buffer.memory, head.data() + head.size(), envelope.body_bytes);
    }
    handler.OnBody(from, buffer);
    return;
  }
  std::byte* const memory = buffer.memory;
  auto incoming = std::make_shared<Incoming>(
      Incoming{from, std::move(buffer), MpiPort::PartsOf(envelope.body_bytes)});
  port_->ReceiveBody(envelope, from, memory, incoming, bodies_);
}

bool MpiCommunicator::FinishBodies(MessageHandler& handler) {
  if (bodies_.requests.empty()) return false;
  std::vector<std::shared_ptr<void>> done;
  bodies_.Test(&done);
  for (const std::shared_ptr<void>& part : done) {
    auto& incoming = *static_cast<Incoming*>(part.get());
    if (--incoming.parts == 0) handler.OnBody(incoming.from, incoming.buffer);
  }
  return !done.empty();
}

void MpiCommunicator::Idle(int polls) {
  // At first the answer is likely to be near; then whoever computes on this core goes first; then the
  // core is not even looked at. Yielding costs a computing thread less than a sleeper that wakes often.
  constexpr int kSpin = 16, kYield = 2000;
  if (polls <= kSpin) return;
  if (polls <= kYield) {
    ::sched_yield();
    return;
  }
  std::this_thread::sleep_for(std::chrono::microseconds(polls < 2 * kYield ? 20 : 100));
}

bool MpiCommunicator::Sending() {
  std::lock_guard lock(port_->mutex);
  sends_.Test(nullptr);
  return !sends_.requests.empty();
}

void MpiCommunicator::Complete(MPI_Request& request, std::chrono::milliseconds timeout,
                               const char* what) {
  const auto limit = std::chrono::steady_clock::now() + timeout;
  for (int polls = 1;; ++polls) {
    {
      std::lock_guard lock(port_->mutex);
      int done = 0;
      CheckMpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), what);
      if (done) return;
    }
    Idle(polls);
    if (polls % 64 == 0 && std::chrono::steady_clock::now() > limit) {
      throw Error(ErrorCode::kDeadlineExceeded,
                  "rank " + std::to_string(rank()) + " of " + std::to_string(size()) + " waited " +
                      std::to_string(timeout.count()) + " ms in " + what +
                      " for other ranks to join: are all of them running?");
    }
  }
}

std::vector<std::string> MpiCommunicator::AllGather(std::string_view mine,
                                                    std::chrono::milliseconds timeout) {
  // On the heap and shared with nobody: after a timeout MPI may still write here, so the buffers are
  // then left to the port.
  struct Buffers {
    int own = 0;
    std::string mine;
    std::vector<int> sizes, places;
    std::string all;
  };
  auto buffers = std::make_shared<Buffers>();
  buffers->mine = mine;
  buffers->own = static_cast<int>(mine.size());
  buffers->sizes.resize(static_cast<size_t>(size()));
  MPI_Request request;
  try {
    {
      std::lock_guard lock(port_->mutex);
      CheckMpi(MPI_Iallgather(&buffers->own, 1, MPI_INT, buffers->sizes.data(), 1, MPI_INT, port_->comm,
                              &request),
               "MPI_Iallgather");
    }
    Complete(request, timeout, "MPI_Iallgather");
    int total = 0;
    for (int size : buffers->sizes) {
      buffers->places.push_back(total);
      total += size;
    }
    buffers->all.resize(static_cast<size_t>(total));
    {
      std::lock_guard lock(port_->mutex);
      CheckMpi(MPI_Iallgatherv(buffers->mine.data(), buffers->own, MPI_BYTE, buffers->all.data(),
                               buffers->sizes.data(), buffers->places.data(), MPI_BYTE, port_->comm,
                               &request),
               "MPI_Iallgatherv");
    }
    Complete(request, timeout, "MPI_Iallgatherv");
  } catch (...) {
    std::lock_guard lock(port_->mutex);
    port_->abandoned.push_back(buffers);
    throw;
  }
  std::vector<std::string> result;
  for (size_t i = 0; i < buffers->sizes.size(); ++i) {
    result.push_back(buffers->all.substr(static_cast<size_t>(buffers->places[i]),
                                         static_cast<size_t>(buffers->sizes[i])));
  }
  return result;
}

std::unique_ptr<Communicator> MpiCommunicator::Duplicate() {
  return std::make_unique<MpiCommunicator>(port_);
}

std::unique_ptr<NativeCollectives> MpiCommunicator::MakeNative(
    const std::vector<std::vector<int>>& rank_sets) {
  return MakeMpiNative(port_, rank_sets);
}

void MpiCommunicator::Abort(int exit_code) {
  // Without the lock: another thread may be stuck inside MPI, and nothing after this call matters.
  if (ompi_mpi_abort != nullptr) ompi_mpi_abort(port_->comm, exit_code);
  MPI_Abort(port_->comm, exit_code);
  std::_Exit(exit_code);
}

}  // namespace syncbn::comm
