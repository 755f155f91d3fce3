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

namespace syncbn::comm {
namespace {

constexpr int kHeadTag = 0;
// A part of a body, so that its size fits in an int.
constexpr size_t kPartBytes = size_t{1} << 30;

size_t PartsOf(size_t bytes) { return (bytes + kPartBytes - 1) / kPartBytes; }

}  // namespace

void CheckMpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw Error(ErrorCode::kUnavailable,
              std::string(call) + " failed: " + std::string(text, static_cast<size_t>(length)));
}

MpiCommunicator::MpiCommunicator(std::shared_ptr<MpiRuntime> runtime, MPI_Comm comm)
    : runtime_(std::move(runtime)),
      comm_(comm),
      ring_(std::make_shared<std::array<Packet, kRing>>()) {
  std::lock_guard lock(runtime_->mutex);
  CheckMpi(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  CheckMpi(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
  CheckMpi(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
  int* largest = nullptr;
  int found = 0;
  CheckMpi(MPI_Comm_get_attr(comm_, MPI_TAG_UB, &largest, &found), "MPI_Comm_get_attr");
  largest_tag_ = found ? *largest : 32767;
  for (size_t slot = 0; slot < kRing; ++slot) PostReceive(slot);
}

MpiCommunicator::~MpiCommunicator() {
  std::lock_guard lock(runtime_->mutex);
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized) return;
  if (!abandoned_ && send_requests_.empty() && body_requests_.empty()) {
    for (MPI_Request& request : ring_requests_) {
      MPI_Cancel(&request);
      MPI_Wait(&request, MPI_STATUS_IGNORE);
    }
    MPI_Comm_free(&comm_);
    return;
  }
  runtime_->abandoned.push_back(ring_);
  for (auto& body : bodies_) runtime_->abandoned.push_back(std::move(body));
  for (auto& sent : sending_) runtime_->abandoned.push_back(std::move(sent));
}

void MpiCommunicator::PostReceive(size_t slot) {
  CheckMpi(MPI_Irecv((*ring_)[slot].data(), kPacketBytes, MPI_BYTE, MPI_ANY_SOURCE, kHeadTag, comm_,
                     &ring_requests_[slot]),
           "MPI_Irecv");
}

std::shared_ptr<MpiCommunicator::Packet> MpiCommunicator::TakePacket() {
  if (free_packets_.empty()) return std::shared_ptr<Packet>(new Packet);
  std::shared_ptr<Packet> packet = std::move(free_packets_.back());
  free_packets_.pop_back();
  return packet;
}

void MpiCommunicator::Send(int to, std::span<const std::byte> head, std::span<const std::byte> body,
                           std::shared_ptr<void> keep_alive) {
  SYNCBN_CHECK_LE(head.size(), kMaxHeadBytes);
  const bool together = body.size() <= kCopiedBytes;
  std::lock_guard lock(runtime_->mutex);
  Envelope envelope{.head_bytes = static_cast<uint32_t>(head.size()), .body_bytes = body.size()};
  if (!together) {
    const int parts = static_cast<int>(PartsOf(body.size()));
    if (next_body_tag_ + parts - 1 > largest_tag_) next_body_tag_ = 1;
    envelope.body_tag = std::exchange(next_body_tag_, next_body_tag_ + parts);
  }
  std::shared_ptr<Packet> packet = TakePacket();
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
                     comm_, &request),
           "MPI_Isend");
  int sent = 0;
  CheckMpi(MPI_Test(&request, &sent, MPI_STATUS_IGNORE), "MPI_Test");
  if (sent) {
    free_packets_.push_back(std::move(packet));
  } else {
    send_requests_.push_back(request);
    sending_.push_back(std::move(packet));
  }
  if (together) return;
  for (size_t part = 0; part < PartsOf(body.size()); ++part) {
    const auto piece = body.subspan(part * kPartBytes,
                                    std::min(kPartBytes, body.size() - part * kPartBytes));
    CheckMpi(MPI_Isend(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, to,
                       envelope.body_tag + static_cast<int>(part), comm_, &request),
             "MPI_Isend");
    send_requests_.push_back(request);
    sending_.push_back(keep_alive);
  }
}

bool MpiCommunicator::Progress(MessageHandler& handler, IfBusy if_busy) {
  std::unique_lock lock(runtime_->mutex, std::defer_lock);
  if (if_busy == IfBusy::kWait) {
    lock.lock();
  } else if (!lock.try_lock()) {
    return false;
  }
  bool any = false;
  while (true) {
    int arrived = 0;
    MPI_Status status;
    CheckMpi(MPI_Test(&ring_requests_[ring_next_], &arrived, &status), "MPI_Test");
    if (!arrived) break;
    any = true;
    const size_t slot = std::exchange(ring_next_, (ring_next_ + 1) % kRing);
    try {
      Deliver(handler, (*ring_)[slot], status.MPI_SOURCE);
    } catch (...) {
      PostReceive(slot);
      throw;
    }
    PostReceive(slot);
  }
  any |= FinishBodies(handler);
  FinishSends();
  return any;
}

void MpiCommunicator::Deliver(MessageHandler& handler, const Packet& packet, int from) {
  Envelope envelope;
  std::memcpy(&envelope, packet.data(), sizeof envelope);
  const std::span<const std::byte> head(packet.data() + sizeof envelope, envelope.head_bytes);
  Landing landing = handler.OnHead(from, head, envelope.body_bytes);
  if (envelope.body_tag == 0) {
    if (envelope.body_bytes > 0) {
      std::memcpy(landing.memory, head.data() + head.size(), envelope.body_bytes);
    }
    handler.OnBody(from, landing);
    return;
  }
  const size_t parts = PartsOf(envelope.body_bytes);
  auto incoming = std::make_shared<Incoming>(
      Incoming{.from = from, .landing = std::move(landing), .parts = static_cast<int>(parts)});
  for (size_t part = 0; part < parts; ++part) {
    const size_t begin = part * kPartBytes;
    MPI_Request request;
    CheckMpi(MPI_Irecv(incoming->landing.memory + begin,
                       static_cast<int>(std::min(kPartBytes, envelope.body_bytes - begin)), MPI_BYTE,
                       from, envelope.body_tag + static_cast<int>(part), comm_, &request),
             "MPI_Irecv");
    body_requests_.push_back(request);
    bodies_.push_back(incoming);
  }
}

bool MpiCommunicator::FinishBodies(MessageHandler& handler) {
  if (body_requests_.empty()) return false;
  finished_.resize(body_requests_.size());
  int count = 0;
  CheckMpi(MPI_Testsome(static_cast<int>(body_requests_.size()), body_requests_.data(), &count,
                        finished_.data(), MPI_STATUSES_IGNORE),
           "MPI_Testsome");
  if (count <= 0) return false;
  std::vector<std::shared_ptr<Incoming>> done;
  for (int i = 0; i < count; ++i) {
    std::shared_ptr<Incoming>& incoming = bodies_[static_cast<size_t>(finished_[static_cast<size_t>(i)])];
    if (--incoming->parts == 0) done.push_back(incoming);
    incoming.reset();
  }
  std::erase(bodies_, nullptr);
  std::erase(body_requests_, MPI_REQUEST_NULL);
  for (const auto& incoming : done) handler.OnBody(incoming->from, incoming->landing);
  return true;
}

bool MpiCommunicator::FinishSends() {
  if (send_requests_.empty()) return false;
  finished_.resize(send_requests_.size());
  int count = 0;
  CheckMpi(MPI_Testsome(static_cast<int>(send_requests_.size()), send_requests_.data(), &count,
                        finished_.data(), MPI_STATUSES_IGNORE),
           "MPI_Testsome");
  if (count <= 0) return false;
  for (int i = 0; i < count; ++i) {
    sending_[static_cast<size_t>(finished_[static_cast<size_t>(i)])].reset();
  }
  std::erase(sending_, nullptr);
  std::erase(send_requests_, MPI_REQUEST_NULL);
  return true;
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
  std::lock_guard lock(runtime_->mutex);
  FinishSends();
  return !send_requests_.empty();
}

void MpiCommunicator::Complete(MPI_Request& request, std::chrono::milliseconds timeout,
                               const char* what) {
  const auto limit = std::chrono::steady_clock::now() + timeout;
  for (int polls = 1;; ++polls) {
    {
      std::lock_guard lock(runtime_->mutex);
      int done = 0;
      CheckMpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), what);
      if (done) return;
    }
    Idle(polls);
    if (polls % 64 == 0 && std::chrono::steady_clock::now() > limit) {
      throw Error(ErrorCode::kDeadlineExceeded,
                  "rank " + std::to_string(rank_) + " of " + std::to_string(size_) + " waited " +
                      std::to_string(timeout.count()) + " ms in " + what +
                      " for other ranks to join: are all of them running?");
    }
  }
}

std::vector<std::string> MpiCommunicator::AllGather(std::string_view mine,
                                                    std::chrono::milliseconds timeout) {
  // On the heap and shared with nobody: after a timeout MPI may still write here, so the buffers are
  // then left to the runtime.
  struct Buffers {
    int own = 0;
    std::string mine;
    std::vector<int> sizes, places;
    std::string all;
  };
  auto buffers = std::make_shared<Buffers>();
  buffers->mine = mine;
  buffers->own = static_cast<int>(mine.size());
  buffers->sizes.resize(static_cast<size_t>(size_));
  MPI_Request request;
  try {
    {
      std::lock_guard lock(runtime_->mutex);
      CheckMpi(MPI_Iallgather(&buffers->own, 1, MPI_INT, buffers->sizes.data(), 1, MPI_INT, comm_,
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
      std::lock_guard lock(runtime_->mutex);
      CheckMpi(MPI_Iallgatherv(buffers->mine.data(), buffers->own, MPI_BYTE, buffers->all.data(),
                               buffers->sizes.data(), buffers->places.data(), MPI_BYTE, comm_,
                               &request),
               "MPI_Iallgatherv");
    }
    Complete(request, timeout, "MPI_Iallgatherv");
  } catch (...) {
    std::lock_guard lock(runtime_->mutex);
    runtime_->abandoned.push_back(buffers);
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
  MPI_Comm copy = MPI_COMM_NULL;
  MPI_Request request;
  {
    std::lock_guard lock(runtime_->mutex);
    CheckMpi(MPI_Comm_idup(comm_, &copy, &request), "MPI_Comm_idup");
  }
  Complete(request, kDefaultTimeout, "MPI_Comm_idup");
  return std::make_unique<MpiCommunicator>(runtime_, copy);
}

std::unique_ptr<NativeCollectives> MpiCommunicator::MakeNative(
    const std::vector<std::vector<int>>& rank_sets) {
  return MakeMpiNative(runtime_, comm_, rank_sets);
}

void MpiCommunicator::Abort(int exit_code) {
  // Without the lock: another thread may be stuck inside MPI, and nothing after this call matters.
  MPI_Abort(comm_, exit_code);
  std::_Exit(exit_code);
}

}  // namespace syncbn::comm
