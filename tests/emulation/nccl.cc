// NCCL's names on the emulated device (include/nccl.h).
#include <nccl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "tests/emulation/nccl_wire.h"
#include "tests/emulation/runtime.h"
#include "tests/emulation/runtime_state.h"

namespace syncbn::emulation {
namespace {

std::mutex break_mutex;
NcclBreak planned_break = [] {  // guarded by break_mutex
  NcclBreak planned;
  const char* const text = std::getenv("SYNCBN_EMULATION_BREAK_NCCL");
  char how[8] = "";
  long long launch = 0;
  if (text != nullptr && std::sscanf(text, "%d:%lld:%7s", &planned.rank, &launch, how) == 3) {
    planned.launch = launch;
    planned.error = std::strcmp(how, "error") == 0;
  }
  return planned;
}();
NcclBreak PlannedBreak() {
  const std::lock_guard lock(break_mutex);
  return planned_break;
}

// A communicator, which what it has launched holds beyond its end.
class Communicator {
 public:
  std::unique_ptr<NcclWire> wire;
  int device = 0;
  bool blocking = true;
  std::atomic<bool> aborted{false};
  std::atomic<ncclResult_t> error{ncclSuccess};
  // Kernels: of calls, on streams, over.
  std::atomic<int64_t> given{0}, launched{0}, ended{0};
  uint64_t collectives = 0;
  int splits = 0;
  bool finalizing = false, finished = false;
  // Of a group that is in progress: what gives it to its stream, and how often it must be asked for
  // before.
  std::function<void()> pending;
  int asks = 0;
  std::mt19937_64 random;
  // A split of it that waits for the colors of the others; whether it is over.
  std::function<bool()> joining;
};

thread_local std::string last_error;  // of this thread's calls

ncclResult_t Fail(ncclResult_t result, std::string why) {
  last_error = std::move(why);
  return result;
}

}  // namespace

void BreakNccl(NcclBreak planned) {
  const std::lock_guard lock(break_mutex);
  planned_break = planned;
}

}  // namespace syncbn::emulation

using namespace syncbn::emulation;  // NOLINT: what follows has the names of another library

struct ncclComm {
  std::shared_ptr<Communicator> state = std::make_shared<Communicator>();
};

namespace {

size_t BytesOf(ncclDataType_t type) {
  switch (type) {
    case ncclUint8:
      return 1;
    case ncclInt32:
    case ncclFloat32:
      return 4;
    case ncclInt64:
    case ncclFloat64:
      return 8;
  }
  std::abort();
}

template <typename T>
void AddTo(std::byte* to, const std::byte* from, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    T a, b;
    std::memcpy(&a, to + i * sizeof(T), sizeof(T));
    std::memcpy(&b, from + i * sizeof(T), sizeof(T));
    a = static_cast<T>(a + b);
    std::memcpy(to + i * sizeof(T), &a, sizeof(T));
  }
}
void Add(std::byte* to, const std::byte* from, size_t count, ncclDataType_t type) {
  switch (type) {
    case ncclUint8:
      return AddTo<uint8_t>(to, from, count);
    case ncclInt32:
      return AddTo<uint32_t>(to, from, count);
    case ncclInt64:
      return AddTo<uint64_t>(to, from, count);
    case ncclFloat32:
      return AddTo<float>(to, from, count);
    case ncclFloat64:
      return AddTo<double>(to, from, count);
  }
}

struct Call {
  ncclComm_t comm = nullptr;
  cudaStream_t stream = nullptr;
  // Its part, made when the stream comes to it, and what is done behind it.
  std::function<void(Communicator&, std::vector<NcclTransfer>&)> begin;
  std::function<void(Communicator&)> end;
};

thread_local int depth = 0;
thread_local std::vector<Call> group;
thread_local std::vector<ncclComm_t> aborts;

// Waits for what was launched: also behind kernels of other communicators on the stream.
void EndAborts() {
  for (const ncclComm_t comm : std::exchange(aborts, {})) {
    while (comm->state->ended < comm->state->launched) {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    comm->state->pending = nullptr;  // what was not given to its stream holds the communicator
    delete comm;
  }
}

// A kernel of NCCL: everything that a group gives one stream goes on at once, in no order.
void RunGroup(Communicator& comm, const std::vector<Call>& calls, bool hangs, uint64_t seed) {
  try {
    std::vector<NcclTransfer> transfers;
    for (const Call& call : calls) call.begin(comm, transfers);
    // Between two ranks in the order of the calls, else in none.
    std::map<const void*, std::deque<NcclTransfer>> of_channels;
    for (const NcclTransfer& one : transfers) of_channels[one.side()].push_back(one);
    std::vector<std::deque<NcclTransfer>*> queues;
    for (auto& [side, queue] : of_channels) queues.push_back(&queue);
    std::ranges::shuffle(queues, std::mt19937_64(seed));
    int idle = 0;
    while (!comm.aborted) {
      bool moved = false, all = !hangs;
      if (!hangs) {
        for (std::deque<NcclTransfer>* queue : queues) {
          if (queue->empty()) continue;
          moved |= queue->front().Move();
          if (queue->front().done()) queue->pop_front();
          all &= queue->empty();
        }
      }
      if (all) break;
      idle = moved ? 0 : idle + 1;
      if (idle > 20) std::this_thread::sleep_for(std::chrono::microseconds(std::min(idle, 200)));
    }
    if (!comm.aborted) {
      for (const Call& call : calls) {
        if (call.end) call.end(comm);
      }
    }
  } catch (const std::exception& error) {
    SetFault(error.what());
    comm.error = ncclInternalError;
  }
  ++comm.ended;
}

ncclResult_t CheckCall(ncclComm_t comm, cudaStream_t stream) {
  if (comm == nullptr || stream == nullptr)
    return Fail(ncclInvalidArgument, "no communicator or stream");
  Communicator& state = *comm->state;
  if (Sticky() != cudaSuccess) return Fail(ncclUnhandledCudaError, cudaGetErrorString(Sticky()));
  if (stream->device() != state.device) return Fail(ncclInvalidUsage, "a stream of another device");
  if (state.wire == nullptr || !state.wire->Complete())
    return Fail(ncclInvalidUsage, "not all ranks have joined");
  if (state.pending) return Fail(ncclInvalidUsage, "a launch while another is in progress");
  if (state.finalizing) return Fail(ncclInvalidUsage, "a launch after ncclCommFinalize");
  return ncclSuccess;
}

// Alone it is a group of its own.
ncclResult_t Add(Call call) {
  const ncclResult_t checked = CheckCall(call.comm, call.stream);
  if (checked != ncclSuccess) return checked;
  if (depth > 0) {
    group.push_back(std::move(call));
    return ncclSuccess;
  }
  ncclGroupStart();
  group.push_back(std::move(call));
  return ncclGroupEnd();
}

NcclChannel::Head HeadOf(const char* call, uint64_t number, size_t bytes) {
  NcclChannel::Head head{};
  std::snprintf(head.call, sizeof head.call, "%s", call);
  head.number = number;
  head.bytes = bytes;
  return head;
}

// When the stream has come to the call.
void CheckBuffer(const char* call, const void* memory, size_t bytes) {
  if (bytes == 0 || IsInBlock(memory, bytes)) return;
  throw std::runtime_error(std::string(call) + ": its " + std::to_string(bytes) +
                           " bytes are no device memory, or are free");
}

// Everybody's block to everybody, the own one copied.
void GatherAll(Communicator& comm, const NcclChannel::Head& head, const std::byte* from,
               std::byte* to, std::vector<NcclTransfer>& transfers) {
  NcclWire& wire = *comm.wire;
  std::byte* const own = to + static_cast<size_t>(wire.rank()) * head.bytes;
  if (own != from) std::memmove(own, from, head.bytes);
  for (int peer = 0; peer < wire.ranks(); ++peer) {
    if (peer == wire.rank()) continue;
    transfers.emplace_back(wire.Between(wire.rank(), peer), head, own, nullptr);
    transfers.emplace_back(wire.Between(peer, wire.rank()), head, nullptr,
                           to + static_cast<size_t>(peer) * head.bytes);
  }
}

}  // namespace

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclUnhandledCudaError:
      return "unhandled cuda error";
    case ncclSystemError:
      return "unhandled system error";
    case ncclInternalError:
      return "internal error";
    case ncclInvalidArgument:
      return "invalid argument";
    case ncclInvalidUsage:
      return "invalid usage";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInProgress:
      return "NCCL operation in progress";
  }
  return "unknown result code";
}
const char* ncclGetLastError(ncclComm_t) {
  return last_error.c_str();
}
// SYNCBN_EMULATED_NCCL=23000: another version.
ncclResult_t ncclGetVersion(int* version) {
  const char* const text = std::getenv("SYNCBN_EMULATED_NCCL");
  *version = text == nullptr ? 22800 : std::atoi(text);
  return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static std::atomic<int> made{0};
  std::memset(id, 0, sizeof *id);
  std::snprintf(
      id->internal, sizeof id->internal, "/emulated-nccl-%d-%d-%lld", static_cast<int>(::getpid()),
      ++made, static_cast<long long>(std::chrono::steady_clock::now().time_since_epoch().count()));
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  if (rank < 0 || rank >= ranks) return Fail(ncclInvalidArgument, "no such rank");
  const NcclBreak planned = PlannedBreak();
  if (planned.rank == rank && planned.launch < 0) return Fail(ncclSystemError, "no socket");
  auto made = std::make_unique<ncclComm>();
  Communicator& state = *made->state;
  state.blocking = config->blocking != 0;
  state.random.seed(static_cast<uint64_t>(rank) + 17);
  cudaGetDevice(&state.device);
  try {
    state.wire = std::make_unique<NcclWire>(id.internal, rank, ranks);
  } catch (const std::exception& error) {
    return Fail(ncclSystemError, error.what());
  }
  *comm = made.release();
  if (!state.blocking) return ncclInProgress;
  while (!state.wire->Complete()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return ncclSuccess;
}

// As NCCL 2.28 does it: what is in progress is the parent's, also of a rank that is in no part, and
// the new one is written when that is over.
ncclResult_t ncclCommSplit(ncclComm_t comm, int color, int key, ncclComm_t* made,
                           ncclConfig_t* config) {
  const std::shared_ptr<Communicator> parent = comm->state;
  NcclWire& wire = *parent->wire;
  if (parent->joining || parent->pending) {
    return Fail(ncclInvalidArgument, "a call while another is in progress");
  }
  const int split = parent->splits++;
  if (split >= NcclWire::kMostSplits) {
    return Fail(ncclInternalError, "more splits than the emulation has room for");
  }
  NcclWire::Split& mine = wire.SplitOf(split, wire.rank());
  mine.color = color;
  mine.key = key;
  mine.state = 1;
  *made = nullptr;
  parent->joining = [&all = wire, device = parent->device, blocking = config->blocking != 0, split,
                     color, made] {
    std::vector<std::pair<int, int>> members;  // key, rank
    for (int rank = 0; rank < all.ranks(); ++rank) {
      NcclWire::Split& other = all.SplitOf(split, rank);
      if (other.state == 0) return false;
      if (other.color == color) members.emplace_back(other.key, rank);
    }
    if (color == NCCL_SPLIT_NOCOLOR) return true;
    std::ranges::sort(members);
    const auto self =
        std::ranges::find(members, all.rank(), [](const auto& one) { return one.second; });
    auto part = std::make_unique<ncclComm>();
    part->state->blocking = blocking;
    part->state->device = device;
    part->state->random.seed(static_cast<uint64_t>(all.rank()) + 31);
    part->state->wire = std::make_unique<NcclWire>(
        all.name() + "-" + std::to_string(split) + "-" + std::to_string(color),
        static_cast<int>(self - members.begin()), static_cast<int>(members.size()));
    *made = part.release();
    return true;
  };
  return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  Communicator& state = *comm->state;
  *error = state.error;
  if (*error != ncclSuccess) return ncclSuccess;
  if (state.joining) {
    if (state.joining()) {
      state.joining = nullptr;
    } else {
      *error = ncclInProgress;
    }
  } else if (!state.wire->Complete()) {
    *error = ncclInProgress;
  } else if (state.pending) {
    *error = ncclInProgress;
    if (--state.asks <= 0) {
      std::exchange(state.pending, nullptr)();
      *error = ncclSuccess;
    }
  } else if (state.finalizing) {
    if (state.given == state.ended && !std::exchange(state.finished, true)) state.wire->Finish();
    if (!state.wire->AllFinished()) *error = ncclInProgress;
  }
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  comm->state->finalizing = true;
  return ncclInProgress;
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  delete comm;
  return ncclSuccess;
}
// In a group all are told first, then waited for.
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  comm->state->aborted = true;
  HoldQueries(-1);
  aborts.push_back(comm);
  if (depth == 0) EndAborts();
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  ++depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (--depth > 0) return ncclSuccess;
  EndAborts();
  std::vector<Call> calls = std::exchange(group, {});
  ncclResult_t result = ncclSuccess;
  while (!calls.empty()) {
    // Those of one communicator and stream are one kernel.
    const ncclComm_t comm = calls.front().comm;
    const cudaStream_t stream = calls.front().stream;
    std::vector<Call> kernel;
    std::erase_if(calls, [&](Call& call) {
      if (call.comm != comm || call.stream != stream) return false;
      kernel.push_back(std::move(call));
      return true;
    });
    const std::shared_ptr<Communicator> state = comm->state;
    const NcclBreak planned = PlannedBreak();
    const bool hangs = planned.rank == state->wire->rank() && state->given >= planned.launch;
    if (hangs && planned.error) state->error = ncclSystemError;
    ++state->given;
    CountOperation();
    auto give = [state, stream, kernel = std::move(kernel), hangs] {
      ++state->launched;
      stream->Give(
          [state, stream, kernel, hangs] { RunGroup(*state, kernel, hangs, stream->NextSeed()); });
    };
    if (!state->blocking) {
      // Always: NCCL launches on a thread of its own.
      state->pending = std::move(give);
      state->asks = state->random() % 8 == 0 ? 3 : 1;
      result = ncclInProgress;
    } else {
      give();
    }
  }
  return result;
}

ncclResult_t ncclSend(const void* from, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream) {
  const auto head = HeadOf("send", 0, count * BytesOf(type));
  return Add({comm, stream,
              [=](Communicator& state, std::vector<NcclTransfer>& transfers) {
                CheckBuffer("ncclSend", from, head.bytes);
                NcclWire& wire = *state.wire;
                transfers.emplace_back(wire.Between(wire.rank(), peer), head,
                                       static_cast<const std::byte*>(from), nullptr);
              },
              nullptr});
}
ncclResult_t ncclRecv(void* to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  const auto head = HeadOf("send", 0, count * BytesOf(type));
  return Add({comm, stream,
              [=](Communicator& state, std::vector<NcclTransfer>& transfers) {
                CheckBuffer("ncclRecv", to, head.bytes);
                NcclWire& wire = *state.wire;
                transfers.emplace_back(wire.Between(peer, wire.rank()), head, nullptr,
                                       static_cast<std::byte*>(to));
              },
              nullptr});
}
ncclResult_t ncclAllGather(const void* from, void* to, size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream) {
  const auto head = HeadOf("all-gather", ++comm->state->collectives, count * BytesOf(type));
  return Add({comm, stream,
              [=](Communicator& state, std::vector<NcclTransfer>& transfers) {
                CheckBuffer("ncclAllGather", from, head.bytes);
                CheckBuffer("ncclAllGather", to,
                            head.bytes * static_cast<size_t>(state.wire->ranks()));
                GatherAll(state, head, static_cast<const std::byte*>(from),
                          static_cast<std::byte*>(to), transfers);
              },
              nullptr});
}
ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type,
                           ncclRedOp_t, ncclComm_t comm, cudaStream_t stream) {
  const auto head = HeadOf("all-reduce", ++comm->state->collectives, count * BytesOf(type));
  auto all = std::make_shared<std::vector<std::byte>>();
  return Add({comm, stream,
              [=](Communicator& state, std::vector<NcclTransfer>& transfers) {
                CheckBuffer("ncclAllReduce", from, head.bytes);
                CheckBuffer("ncclAllReduce", to, head.bytes);
                all->resize(head.bytes * static_cast<size_t>(state.wire->ranks()));
                GatherAll(state, head, static_cast<const std::byte*>(from), all->data(), transfers);
              },
              [=](Communicator& state) {
                // In another order than that of ranks, in which nobody may trust.
                auto* const sum = static_cast<std::byte*>(to);
                const int ranks = state.wire->ranks();
                std::memcpy(sum, all->data() + head.bytes * static_cast<size_t>(ranks - 1),
                            head.bytes);
                for (int i = 0; i + 1 < ranks; ++i) {
                  ::Add(sum, all->data() + head.bytes * static_cast<size_t>(i), count, type);
                }
              }});
}
