#include "app/run/memory_advice.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <future>
#include <memory>
#include <thread>

#include "app/console.h"
#include "base/error.h"
#include "base/text.h"
#include "comm/replica_map.h"
#include "data/batch_plan.h"
#include "train/run_backend.h"

namespace syncbn::app {
namespace {

constexpr const char* kHowItGrows =
    "Activations take memory in proportion to the batch: half of cluster.batch_per_replica needs "
    "about half as much. Or have fewer replicas on this device";
// What else takes memory: messages of several processes, pieces that the pool cannot use.
constexpr double kUsable = 0.95;
// Processes that hear of a failure end all after two seconds.
constexpr std::chrono::milliseconds kTimeAmongOthers{1500};

std::string Mebibytes(double bytes) {
  return Format("%.*f MiB", bytes < 100 << 20 ? 1 : 0, std::ldexp(bytes, -20));
}

// What `make` gives; empty where it fails or, with a limit, takes too long: then it goes on, and
// what it uses must live as long as the process.
std::string Attempt(std::chrono::milliseconds limit, const std::function<std::string()>& make) {
  const auto safe = [make]() -> std::string {
    try {
      return make();
    } catch (const std::exception&) {
      return "";
    }
  };
  if (limit.count() == 0) return safe();
  auto result = std::make_shared<std::promise<std::string>>();
  std::future<std::string> future = result->get_future();
  std::thread([safe, result] { result->set_value(safe()); }).detach();
  return future.wait_for(limit) == std::future_status::ready ? future.get() : "";
}

}  // namespace

std::string MemoryAdviceOf(const forecast::MemoryNeed& need, const std::vector<int64_t>& batches,
                           bool all_alike, double available) {
  const int64_t largest = *std::ranges::max_element(batches);
  const double usable = kUsable * available, needed = need.OfProcess(batches);
  std::string text =
      "A replica with a batch of " + std::to_string(largest) + " needs about " +
      Mebibytes(need.OfReplica(largest)) + ": " + Mebibytes(need.replica) +
      " whatever its batch, and " + Mebibytes(need.sample) + " a sample; this process computes " +
      Plural(static_cast<int64_t>(batches.size()), "replica") + " at a time, and with " +
      Mebibytes(need.process) + " for parameters, gradients and optimizer needs about " +
      Mebibytes(needed) + ". It can have " + Mebibytes(available) + ": ";
  int64_t samples = 0;
  for (const int64_t batch : batches) samples += batch;
  const double room = usable - need.process - need.replica * static_cast<double>(batches.size());
  const double fitting = need.sample > 0 ? room / need.sample : 0;  // samples at a time
  if (needed <= usable) {
    text +=
        "that would fit, so something else takes it, such as batches that are prepared ahead "
        "(data.prefetch) or other programs on the device";
  } else if (fitting < static_cast<double>(batches.size())) {
    text +=
        "not even one sample a replica fits. Have fewer replicas on this device, or a smaller "
        "model";
  } else if (all_alike) {
    text += "cluster.batch_per_replica: " +
            std::to_string(static_cast<int64_t>(fitting) / static_cast<int64_t>(batches.size())) +
            " would fit";
  } else {
    text += Format("%.0f %% of cluster.batch_per_replica would fit",
                   std::floor(100 * fitting / static_cast<double>(samples)));
  }
  return text + " (estimated by steps of " + std::to_string(need.fewer) + " and " +
         Plural(need.more, "sample") + ")";
}

std::string MemoryAdvice(const train::PreparedRun& run, const backend::Backend& backend, int rank,
                         int processes, int concurrency, size_t available) {
  const std::vector<int64_t> all = data::BatchPerReplica(run.spec().cluster());
  const comm::Group local =
      comm::ReplicaMap(run.spec().cluster().replicas(), processes).OfProcess(rank);
  std::vector<int64_t> batches(all.begin() + local.begin, all.begin() + local.end);
  std::ranges::sort(batches, std::greater());
  if (!run.model().statistics_cross_replicas()) {
    batches.resize(std::min(batches.size(), static_cast<size_t>(std::max(1, concurrency))));
  }
  const std::string advice =
      Attempt(processes > 1 ? kTimeAmongOthers : std::chrono::milliseconds(0),
              [&run, &backend, batches, available,
               alike = std::ranges::count(all, all.front()) == std::ssize(all)] {
                const train::RunBackend precise(backend, run.spec());
                const int64_t largest = std::max<int64_t>(1, batches.front());
                return MemoryAdviceOf(forecast::MeasureMemoryNeed(run, precise.get(), largest),
                                      batches, alike, static_cast<double>(available));
              });
  return advice.empty() ? kHowItGrows : advice;
}

}  // namespace syncbn::app
