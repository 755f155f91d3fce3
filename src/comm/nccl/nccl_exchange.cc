#include <nccl.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "backend/cuda/cuda_merge_stream.h"
#include "base/check.h"
#include "base/host.h"
#include "base/unknown_value.h"
#include "comm/nccl/join_words.h"
#include "comm/nccl/nccl.h"
#include "comm/nccl/nccl_communicator.h"
#include "comm/shared_failure.h"

namespace syncbn::comm {
namespace {

using backend::cuda::CudaMergeStream;

CudaMergeStream* GpuStream(backend::MergeStream& merges) {
  return dynamic_cast<CudaMergeStream*>(&merges);
}

// What a launch and its errors need.
class NcclStream {
 public:
  explicit NcclStream(CudaMergeStream& merges) : merges_(merges) {}

  Tensor New(size_t bytes) { return merges_.New({static_cast<int64_t>(bytes)}, DType::kUint8); }
  // Notes that the stream uses it.
  void* At(const Tensor& x) { return merges_.core().AnyAddress(x); }
  cudaStream_t get() const { return merges_.core().handle().get(); }
  void MakeCurrent() const { merges_.core().handle().MakeCurrent(); }
  CudaMergeStream& merges() { return merges_; }

 private:
  CudaMergeStream& merges_;
};

ncclDataType_t TypeOf(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return ncclFloat32;
    case DType::kFloat64:
      return ncclFloat64;
    case DType::kInt32:
      return ncclInt32;
    case DType::kInt64:
      return ncclInt64;
    default:
      ThrowUnknownValue("all-reduce of elements", static_cast<int>(dtype));
  }
}

// `reduction: native`: sums by ncclAllReduce; moments, for which NCCL has no operation, are
// gathered and merged in the order of ranks.
class NcclNative final : public NativeCollectives {
 public:
  // A set of ranks with a communicator of their own.
  struct Set {
    std::shared_ptr<NcclCommunicator> comm;
    int ranks = 0;
  };
  NcclNative(std::vector<Set> sets, NcclStream stream) : sets_(std::move(sets)), stream_(stream) {}

  std::shared_ptr<Request> Start(int rank_set, const Content& content,
                                 const Tensor& value) override {
    const Set& set = sets_[static_cast<size_t>(rank_set)];
    if (content.elements == 0) return nullptr;
    stream_.MakeCurrent();
    void* const at = stream_.At(value);
    switch (content.operation) {
      case Operation::kSum:
        set.comm->Launch(
            [&](ncclComm_t comm) {
              return ncclAllReduce(at, at, static_cast<size_t>(content.elements),
                                   TypeOf(content.dtype), ncclSum, comm, stream_.get());
            },
            "ncclAllReduce of " + std::to_string(content.elements) + " elements");
        return nullptr;
      case Operation::kMergeMoments: {
        Tensor all = stream_.New(content.bytes() * static_cast<size_t>(set.ranks))
                         .Viewed({set.ranks, content.elements}, content.dtype);
        void* const to = stream_.At(all);
        set.comm->Launch(
            [&](ncclComm_t comm) {
              return ncclAllGather(at, to, content.bytes(), ncclUint8, comm, stream_.get());
            },
            "ncclAllGather of moments");
        std::vector<Tensor> values;
        std::vector<backend::MergeStep> steps;
        for (int i = 0; i < set.ranks; ++i) {
          values.push_back(all.Slice(i * content.elements, {content.elements}));
          if (i > 0) steps.push_back({.into = 0, .from = i});
        }
        stream_.merges().Merge(content, values, steps);
        Tensor target = value;
        stream_.merges().Copy(values.front(), target);
        return nullptr;
      }
    }
    ThrowUnknownValue("reduction", static_cast<int>(content.operation));
  }
  bool Test(Request&) override { return true; }

 private:
  const std::vector<Set> sets_;
  NcclStream stream_;
};

class NcclExchange final : public Exchange {
 public:
  NcclExchange(std::shared_ptr<NcclCommunicator> comm, Communicator& control,
               CudaMergeStream& merges)
      : comm_(std::move(comm)),
        control_(control),
        rank_(control.rank()),
        ranks_(control.size()),
        stream_(merges) {
    ending_->owner = &control_;
  }
  ~NcclExchange() override {
    const std::lock_guard lock(ending_->mutex);
    ending_->owner = nullptr;
    ending_->changed.notify_all();
  }

  Order order() const override { return Order::kOfProcess; }
  bool in_stream_order() const override { return true; }

  std::shared_ptr<Series> Open(const Key& key, const Signature& signature,
                               std::shared_ptr<void>) override {
    return std::make_shared<NcclSeries>(signature.Describe() + ", reduction " +
                                        std::to_string(key.sequence) + " of " +
                                        Describe(key.group));
  }
  void Close(Series&) override {}
  void Expect(Series&, int, std::vector<Incoming>) override {}

  bool AllGather(Series& series, int round, const Tensor& block,
                 std::vector<Incoming> incoming) override {
    if (GatherAtOnce(series, round, block, incoming)) return true;
    std::vector<Outgoing> outgoing;
    for (const Incoming& one : incoming) outgoing.push_back({one.rank, block});
    return AllToAll(series, round, outgoing, std::move(incoming));
  }

  // Grouped, so that NCCL makes one kernel of it and nobody's order of sends and receives matters.
  // Blocks without bytes are known to be such on both sides, and not sent.
  bool AllToAll(Series& base, int round, std::span<const Outgoing> outgoing,
                std::vector<Incoming> incoming) override {
    auto& series = static_cast<NcclSeries&>(base);
    std::vector<Block>& blocks = series.At(round);
    struct Transfer {
      void* at;
      size_t bytes;
      int peer;
    };
    std::vector<Transfer> sends, receives;
    for (const Incoming& one : incoming) {
      for (int index = 0; index < one.blocks; ++index) {
        Tensor memory = one.memory.defined() ? one.memory : stream_.New(one.bytes);
        if (one.bytes > 0) receives.push_back({stream_.At(memory), one.bytes, one.rank});
        blocks.push_back(
            {one.rank, index, memory.Viewed({static_cast<int64_t>(one.bytes)}, DType::kUint8)});
      }
    }
    for (const Outgoing& one : outgoing) {
      if (one.block.bytes() == 0) continue;
      sends.push_back({stream_.At(one.block), one.block.bytes(), one.rank});
      CountSent(series, 1, static_cast<int64_t>(one.block.bytes()));
    }
    if (sends.empty() && receives.empty()) return true;
    stream_.MakeCurrent();
    comm_->Launch(
        [&](ncclComm_t comm) {
          ncclResult_t result = ncclSuccess;
          const auto keep = [&](ncclResult_t one) {
            if (result == ncclSuccess) result = one;
          };
          for (const Transfer& one : sends) {
            keep(ncclSend(one.at, one.bytes, ncclUint8, one.peer, comm, stream_.get()));
          }
          for (const Transfer& one : receives) {
            keep(ncclRecv(one.at, one.bytes, ncclUint8, one.peer, comm, stream_.get()));
          }
          return result;
        },
        "ncclSend and ncclRecv for " + series.what + ", round " + std::to_string(round));
    return true;
  }

  std::vector<std::shared_ptr<void>> Completed() override { return {}; }
  std::vector<Block> Take(Series& series, int round) override {
    return std::exchange(static_cast<NcclSeries&>(series).At(round), {});
  }
  // What the device receives the host does not see: nobody is known to owe anything.
  int Announced(Series&, int, int) const override { return std::numeric_limits<int>::max(); }

  void CheckHealth() override {
    comm_->CheckHealth();
    for (const auto& comm : parts_) comm->CheckHealth();
  }
  // On a thread of its own: it waits for the device, and who calls it must go on telling the
  // others, whose devices this one may wait for.
  void Abort() override {
    if (aborting_.exchange(true)) return;
    std::vector<std::shared_ptr<NcclCommunicator>> all = parts_;
    all.push_back(comm_);
    std::thread([all = std::move(all), ending = ending_] {
      NcclCommunicator::Abort(all);
      const std::lock_guard lock(ending->mutex);
      ending->over = true;
      ending->changed.notify_all();
    }).detach();
    // Where it does not come back, those who wait for the device do not either.
    std::thread([ending = ending_, rank = rank_] {
      std::unique_lock lock(ending->mutex);
      ending->changed.wait_for(lock, kAbortPatience,
                               [&] { return ending->over || ending->owner == nullptr; });
      if (ending->over || ending->owner == nullptr) return;
      std::fprintf(stderr,
                   "syncbn: rank %d: NCCL has not ended what the GPU waits for within %d s of the "
                   "run's failure: "
                   "the process ends\n",
                   rank, static_cast<int>(kAbortPatience.count()));
      ending->owner->Abort(kStuckExitCode);
    }).detach();
  }
  std::unique_ptr<NativeCollectives> MakeNative(
      const std::vector<std::vector<int>>& rank_sets) override {
    std::vector<NcclNative::Set> sets;
    std::exception_ptr failure;
    try {
      for (const std::vector<int>& set : rank_sets) {
        const int ranks = static_cast<int>(set.size());
        if (ranks == ranks_) {
          sets.push_back({comm_, ranks});
          continue;
        }
        const bool member = std::ranges::find(set, rank_) != set.end();
        parts_.push_back(comm_->Split(member ? 0 : NCCL_SPLIT_NOCOLOR, rank_, "ncclCommSplit"));
        sets.push_back({parts_.back(), ranks});
      }
    } catch (...) {
      failure = std::current_exception();
    }
    ShareFailure(control_, failure, "split NCCL's communicator");
    return std::make_unique<NcclNative>(std::move(sets), stream_);
  }

 private:
  struct NcclSeries : Series {
    explicit NcclSeries(std::string what) : what(std::move(what)) {}
    std::vector<Block>& At(int round) {
      if (rounds.size() <= static_cast<size_t>(round))
        rounds.resize(static_cast<size_t>(round) + 1);
      return rounds[static_cast<size_t>(round)];
    }
    const std::string what;
    std::vector<std::vector<Block>> rounds;
  };

  // By ncclAllGather, which knows the machine's best ways, where it can: everybody takes part, all
  // blocks are of one size, and they land nowhere in particular or one behind the other with the
  // own one between them.
  bool GatherAtOnce(Series& base, int round, const Tensor& block,
                    const std::vector<Incoming>& incoming) {
    const size_t bytes = block.bytes();
    if (bytes == 0 || static_cast<int>(incoming.size()) != ranks_ - 1) return false;
    const std::byte* const begin = block.DeviceAddress() - static_cast<size_t>(rank_) * bytes;
    bool anywhere = true, in_place = true;
    for (const Incoming& one : incoming) {
      if (one.blocks != 1 || one.bytes != bytes) return false;
      anywhere &= !one.memory.defined();
      in_place &= one.memory.defined() &&
                  one.memory.DeviceAddress() == begin + static_cast<size_t>(one.rank) * bytes;
    }
    // What all processes do follows from sizes alone.
    SYNCBN_CHECK(anywhere || in_place) << "blocks of an all-gather that lie here and there";
    auto& series = static_cast<NcclSeries&>(base);
    std::vector<Block>& blocks = series.At(round);
    Tensor whole = anywhere ? stream_.New(bytes * static_cast<size_t>(ranks_)) : Tensor();
    for (const Incoming& one : incoming) {
      const Tensor here = anywhere ? whole.Slice(one.rank * static_cast<int64_t>(bytes),
                                                 {static_cast<int64_t>(bytes)})
                                   : one.memory;
      stream_.At(here);
      blocks.push_back({one.rank, 0, here.Viewed({static_cast<int64_t>(bytes)}, DType::kUint8)});
    }
    const void* const from = stream_.At(block);
    std::byte* const to = anywhere ? whole.DeviceAddress() : const_cast<std::byte*>(begin);
    CountSent(series, ranks_ - 1, static_cast<int64_t>(bytes) * (ranks_ - 1));
    stream_.MakeCurrent();
    comm_->Launch(
        [&](ncclComm_t comm) {
          return ncclAllGather(from, to, bytes, ncclUint8, comm, stream_.get());
        },
        "ncclAllGather for " + series.what + ", round " + std::to_string(round));
    return true;
  }

  const std::shared_ptr<NcclCommunicator> comm_;
  // Of some of the ranks; made before the first launch.
  std::vector<std::shared_ptr<NcclCommunicator>> parts_;
  Communicator& control_;
  const int rank_, ranks_;
  NcclStream stream_;
  // Of the threads of Abort, which may outlive this.
  struct Ending {
    std::mutex mutex;
    std::condition_variable changed;
    bool over = false;
    Communicator* owner = nullptr;  // of the exchange, as long as that lives
  };
  static constexpr std::chrono::seconds kAbortPatience{30};
  static constexpr int kStuckExitCode = 5;  // a process stalled
  const std::shared_ptr<Ending> ending_ = std::make_shared<Ending>();
  std::atomic<bool> aborting_{false};
};

std::string JoinError(Communicator& control) {
  return "rank " + std::to_string(control.rank()) + " of " + std::to_string(control.size()) +
         " joins the others (ncclCommInitRankConfig)";
}

}  // namespace

bool HasNccl() {
  return true;
}

namespace {

// As nccl.h writes versions; 0: it does not say.
int Version() {
  int version = 0;
  return ncclGetVersion(&version) == ncclSuccess ? version : 0;
}
std::string VersionText(int version) {
  return std::to_string(version / 10000) + "." + std::to_string(version % 10000 / 100) + "." +
         std::to_string(version % 100);
}
// From here on what we launch is given to the device by a thread of NCCL's own, so that a launch
// that waits for others can be ended: before it, a process whose peer does not come hangs in the
// call. The library that is loaded may be another than the one that was linked.
constexpr int kOldest = 22304;
std::string TooOld(int version) {
  if (version >= kOldest) return "";
  return "NCCL " + VersionText(version) + ", of which a launch that waits for others cannot be " +
         "ended: it takes " + VersionText(kOldest) + " or later";
}

bool CanShareGpus() {
  return Version() >= 23000;
}
bool IsToldToShareGpus() {
  const char* const told = std::getenv("NCCL_MULTI_RANK_GPU_ENABLE");
  return CanShareGpus() && told != nullptr && std::atoi(told) != 0;
}

}  // namespace

std::string NcclVersion() {
  const int version = Version();
  return version == 0 ? "NCCL" : "NCCL " + VersionText(version);
}

std::string WhyNotNccl(Communicator& control, backend::MergeStream& merges) {
  CudaMergeStream* const gpu = GpuStream(merges);
  const std::vector<std::string> versions = control.AllGather(gpu == nullptr ? "" : NcclVersion());
  // The GPU itself, whatever the host's name is in a container, and its place: NCCL goes by that,
  // and also refuses two parts of one GPU (MIG).
  const std::vector<std::string> gpus =
      control.AllGather(gpu == nullptr ? "" : gpu->core().device().Uuid());
  const std::vector<std::string> places = control.AllGather(
      gpu == nullptr ? "" : HostName() + "|" + BootId() + "|" + gpu->core().device().Pci());
  // Everybody's answer: the variable may be set on some hosts alone.
  const std::vector<std::string> told = control.AllGather(IsToldToShareGpus() ? "yes" : "no");
  const bool share = std::ranges::find(told, "no") == told.end();
  const auto rank = [](size_t i) { return "rank " + std::to_string(i); };
  for (size_t i = 0; i < versions.size(); ++i) {
    if (versions[i].empty()) return rank(i) + " computes on no GPU";
    if (versions[i] != versions[0])
      return "rank 0 has " + versions[0] + ", " + rank(i) + " " + versions[i];
    for (size_t k = 0; k < i; ++k) {
      if (share || (gpus[i] != gpus[k] && places[i] != places[k])) continue;
      return rank(k) + " and " + rank(i) + " share a GPU, which NCCL refuses" +
             (CanShareGpus() ? " unless NCCL_MULTI_RANK_GPU_ENABLE=1 is set for all ranks"
                             : " before its version 2.30");
    }
  }
  const std::string old = TooOld(Version());
  return old.empty() ? "" : "all have " + old;
}

std::unique_ptr<Exchange> MakeNcclExchange(Communicator& control, backend::MergeStream& merges,
                                           std::chrono::nanoseconds timeout) {
  std::exception_ptr failure;
  std::shared_ptr<NcclCommunicator> comm;
  CudaMergeStream* const gpu = GpuStream(merges);
  // Empty: rank 0 could not make one.
  std::string id;
  try {
    if (gpu == nullptr) {
      throw Error(ErrorCode::kInvalidArgument,
                  "NCCL moves tensors of GPUs, and rank " + std::to_string(control.rank()) +
                      " computes on none: --backend cuda, or --exchange mpi");
    }
    if (const std::string old = TooOld(Version()); !old.empty()) {
      throw Error(ErrorCode::kUnimplemented,
                  "rank " + std::to_string(control.rank()) + " has " + old + ", or --exchange mpi");
    }
    if (control.rank() == 0) {
      ncclUniqueId made{};
      const ncclResult_t result = ncclGetUniqueId(&made);
      if (result != ncclSuccess) {
        throw Error(ErrorCode::kUnavailable, std::string("NCCL: ncclGetUniqueId: ") +
                                                 ncclGetErrorString(result) + " (" +
                                                 ncclGetLastError(nullptr) + ")");
      }
      id.assign(made.internal, sizeof made.internal);
    }
  } catch (...) {
    failure = std::current_exception();
  }
  // Before any waits in NCCL for one that does not come.
  ShareFailure(control, failure, "use NCCL");
  id = control.Broadcast(0, id);
  JoinWords words(control);
  try {
    // Another value, also one of a file of NCCL's settings (/etc/nccl.conf), which does not replace
    // what is set, would override `blocking` of the configuration, and nobody could end a launch.
    ::setenv("NCCL_COMM_BLOCKING", "0", 1);
    ncclUniqueId shared{};
    std::ranges::copy(id, shared.internal);
    gpu->core().handle().MakeCurrent();
    comm = std::make_shared<NcclCommunicator>(
        [&](ncclComm_t* made, ncclConfig_t* config) {
          return ncclCommInitRankConfig(made, control.size(), shared, control.rank(), config);
        },
        JoinError(control), timeout, [&] { words.Listen(); });
  } catch (const Error& error) {
    // Who was told of another's error has its advice, too.
    failure = error.code() == ErrorCode::kAborted
                  ? std::current_exception()
                  : std::make_exception_ptr(Error(
                        error.code(), error.message() + "; --exchange mpi does without NCCL"));
    words.Tell(failure);
  } catch (...) {
    failure = std::current_exception();
    words.Tell(failure);
  }
  ShareFailure(control, failure, "use NCCL");
  return std::make_unique<NcclExchange>(std::move(comm), control, *gpu);
}

}  // namespace syncbn::comm
