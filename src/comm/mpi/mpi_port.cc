#include "comm/mpi/mpi_port.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/error.h"

namespace syncbn::comm {
namespace {

constexpr int kHeadTag = 0;

}  // namespace

void CheckMpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw Error(ErrorCode::kUnavailable,
              std::string(call) + " failed: " + std::string(text, static_cast<size_t>(length)));
}

void MpiRequests::Add(MPI_Request request, std::shared_ptr<void> owner) {
  requests.push_back(request);
  owners.push_back(std::move(owner));
}

void MpiRequests::Test(std::vector<std::shared_ptr<void>>* done) {
  if (requests.empty()) return;
  // One call for all: each call that finds nothing may cost a time slice (mpi_yield_when_idle).
  std::vector<int> finished(requests.size());
  int count = 0;
  CheckMpi(MPI_Testsome(static_cast<int>(requests.size()), requests.data(), &count, finished.data(),
                        MPI_STATUSES_IGNORE),
           "MPI_Testsome");
  if (count <= 0) return;
  for (int i = 0; i < count; ++i) {
    std::shared_ptr<void>& owner = owners[static_cast<size_t>(finished[static_cast<size_t>(i)])];
    if (done != nullptr) done->push_back(owner);
    owner.reset();
  }
  // Owners may be null for a body without one, so what is done is known by its request.
  size_t kept = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    if (requests[i] == MPI_REQUEST_NULL) continue;
    requests[kept] = requests[i];
    std::swap(owners[kept], owners[i]);
    ++kept;
  }
  requests.resize(kept);
  owners.resize(kept);
}

void MpiRequests::MoveTo(MpiRequests& other) {
  for (size_t i = 0; i < requests.size(); ++i) other.Add(requests[i], std::move(owners[i]));
  requests.clear();
  owners.clear();
}

MpiPort::MpiPort() {
  CheckMpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm), "MPI_Comm_dup");
  CheckMpi(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  // Some errors of non-blocking collectives are reported on the world, whatever communicator they used.
  CheckMpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  CheckMpi(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank");
  CheckMpi(MPI_Comm_size(comm, &size), "MPI_Comm_size");
  int* largest = nullptr;
  int found = 0;
  CheckMpi(MPI_Comm_get_attr(comm, MPI_TAG_UB, &largest, &found), "MPI_Comm_get_attr");
  if (found) largest_tag_ = *largest;
  for (size_t slot = 0; slot < kRing; ++slot) {
    ring_[slot] = TakePacket();
    Post(slot);
  }
}

MpiPort::~MpiPort() {
  for (MPI_Request& request : ring_requests_) {
    MPI_Cancel(&request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
  }
  if (orphans.requests.empty()) MPI_Comm_free(&comm);
}

void MpiPort::Post(size_t slot) {
  CheckMpi(MPI_Irecv(ring_[slot]->data(), sizeof(Packet), MPI_BYTE, MPI_ANY_SOURCE, kHeadTag, comm,
                     &ring_requests_[slot]),
           "MPI_Irecv");
}

std::shared_ptr<Packet> MpiPort::TakePacket() {
  if (free_packets_.empty()) return std::shared_ptr<Packet>(new Packet);  // not cleared: large
  std::shared_ptr<Packet> packet = std::move(free_packets_.back());
  free_packets_.pop_back();
  return packet;
}

uint32_t MpiPort::OpenChannel() {
  aside_.try_emplace(next_channel_);  // others may have been faster
  return next_channel_++;
}

void MpiPort::CloseChannel(uint32_t channel) {
  const auto packets = aside_.extract(channel);
  for (const Aside& waiting : packets.mapped()) {
    Envelope envelope;
    std::memcpy(&envelope, waiting.packet->data(), sizeof envelope);
    Discard(envelope, waiting.from);
  }
}

void MpiPort::Discard(const Envelope& envelope, int from) {
  if (envelope.body_tag == 0) return;
  auto memory = std::make_shared<std::vector<std::byte>>(envelope.body_bytes);
  ReceiveBody(envelope, from, memory->data(), memory, orphans);
}

std::shared_ptr<Packet> MpiPort::Receive(uint32_t channel, int& from) {
  std::deque<Aside>& mine = aside_.at(channel);
  if (!mine.empty()) {
    Aside first = std::move(mine.front());
    mine.pop_front();
    from = first.from;
    return std::move(first.packet);
  }
  while (true) {
    int arrived = 0;
    MPI_Status status;
    CheckMpi(MPI_Test(&ring_requests_[ring_next_], &arrived, &status), "MPI_Test");
    if (!arrived) return nullptr;
    const size_t slot = std::exchange(ring_next_, (ring_next_ + 1) % kRing);
    std::shared_ptr<Packet> packet = std::exchange(ring_[slot], TakePacket());
    Post(slot);
    Envelope envelope;
    std::memcpy(&envelope, packet->data(), sizeof envelope);
    if (envelope.channel == channel) {
      from = status.MPI_SOURCE;
      return packet;
    }
    const auto other = aside_.find(envelope.channel);
    if (other != aside_.end()) {
      other->second.push_back({std::move(packet), status.MPI_SOURCE});
    } else if (envelope.channel >= next_channel_) {
      aside_[envelope.channel].push_back({std::move(packet), status.MPI_SOURCE});
    } else {
      Discard(envelope, status.MPI_SOURCE);
    }
  }
}

int MpiPort::PartsOf(uint64_t bytes) {
  return static_cast<int>((bytes + kPartBytes - 1) / kPartBytes);
}

int MpiPort::TakeBodyTags(int parts) {
  if (next_body_tag_ > largest_tag_ - parts) next_body_tag_ = 1;
  return std::exchange(next_body_tag_, next_body_tag_ + parts);
}

void MpiPort::ReceiveBody(const Envelope& envelope, int from, std::byte* memory,
                          const std::shared_ptr<void>& owner, MpiRequests& requests) {
  for (int part = 0; part < PartsOf(envelope.body_bytes); ++part) {
    const uint64_t begin = static_cast<uint64_t>(part) * kPartBytes;
    MPI_Request request;
    CheckMpi(MPI_Irecv(memory + begin,
                       static_cast<int>(std::min(kPartBytes, envelope.body_bytes - begin)), MPI_BYTE,
                       from, envelope.body_tag + part, comm, &request),
             "MPI_Irecv");
    requests.Add(request, owner);
  }
}

}  // namespace syncbn::comm
