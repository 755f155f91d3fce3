// Reductions between processes: the tree, with small messages sent directly to everybody and recursively,
// against the library's all-reduce (`reduction: native`), and what messages cost a step that computes
// between them. Run it under mpirun, with one core a rank where there are enough:
//
//   for p in 2 4 8 16; do mpirun -np $p --oversubscribe --bind-to none build/bin/reduction_bench [rounds]; done
//
// Every case is verified before it is timed; all are timed in turns in the same run. One JSON object a line:
// microseconds a call and their ratios, median and 10th to 90th percentile over the rounds, and the messages
// that rank 0 sends for a call.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "comm/make_reducer.h"
#include "comm/mpi/mpi_session.h"

namespace syncbn::comm {
namespace {

using Clock = std::chrono::steady_clock;

double Microseconds(Clock::duration time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

// "1.23 (1.20..1.31)"
std::string Spread(std::vector<double> values, int digits) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1) + 0.5)];
  };
  char text[96];
  std::snprintf(text, sizeof text, "[%.*f, %.*f, %.*f]", digits, at(0.5), digits, at(0.1), digits,
                at(0.9));
  return text;
}

class Bench {
 public:
  Bench(Communicator& world, int rounds)
      : world_(world),
        rounds_(rounds),
        tree_(Make({.kind = ReducerKind::kTree})),
        direct_(Make({.kind = ReducerKind::kTree, .direct_processes = world.size()})),
        recursive_(Make({.kind = ReducerKind::kTree, .direct_processes = 1})),
        native_(Make({.kind = ReducerKind::kNative})) {}

  // Sums that are sent whole, `calls` of them one after the other in a round.
  void SmallSums(int64_t elements, int calls) {
    Tensor tensor({elements}, DType::kFloat64);
    const std::vector<Reducer*> ways = {direct_.get(), recursive_.get(), native_.get()};
    const std::vector<Way> measured = Time(ways, tensor, calls);
    Print(Head("small sum", tensor) + ", \"direct_us\": " + Spread(measured[0].us, 2) +
          ", \"recursive_us\": " + Spread(measured[1].us, 2) + ", \"native_us\": " +
          Spread(measured[2].us, 2) + ", \"direct_messages\": " + std::to_string(measured[0].messages) +
          ", \"recursive_messages\": " + std::to_string(measured[1].messages) +
          ", \"recursive_over_direct\": " + Spread(Ratio(measured[1].us, measured[0].us), 3) +
          ", \"direct_over_native\": " + Spread(Ratio(measured[0].us, measured[2].us), 3) + "}");
  }

  // Sums that are sent by ranges.
  void LargeSums(int64_t elements, int calls) {
    Tensor tensor({elements}, DType::kFloat32);
    const std::vector<Way> measured = Time({tree_.get(), native_.get()}, tensor, calls);
    Print(Head("large sum", tensor) + ", \"tree_us\": " + Spread(measured[0].us, 0) +
          ", \"native_us\": " + Spread(measured[1].us, 0) + ", \"tree_messages\": " +
          std::to_string(measured[0].messages) + ", \"tree_over_native\": " +
          Spread(Ratio(measured[0].us, measured[1].us), 3) + "}");
  }

  // A step that computes for `compute` between any two of its messages.
  void Step(int messages, int64_t elements, std::chrono::microseconds compute) {
    Tensor tensor({elements}, DType::kFloat64);
    for (Reducer* reducer : {tree_.get(), native_.get()}) Verify(*reducer, tensor);
    const auto run = [&](Reducer* reducer) {
      world_.Barrier();
      const Clock::time_point begin = Clock::now();
      for (int i = 0; i < messages; ++i) {
        Compute(compute);
        if (reducer != nullptr) Reduce(*reducer, tensor);
      }
      return Microseconds(Clock::now() - begin);
    };
    std::vector<double> local, tree, native, cost, native_cost;
    for (int round = 0; round < rounds_; ++round) {
      local.push_back(run(nullptr));
      tree.push_back(run(tree_.get()));
      native.push_back(run(native_.get()));
      cost.push_back(100 * (tree.back() / local.back() - 1));
      native_cost.push_back(100 * (native.back() / local.back() - 1));
    }
    Print("{\"case\": \"step\", \"processes\": " + std::to_string(world_.size()) +
          ", \"messages\": " + std::to_string(messages) + ", \"bytes\": " +
          std::to_string(tensor.bytes()) + ", \"local_us\": " + Spread(local, 0) +
          ", \"tree_us\": " + Spread(tree, 0) + ", \"native_us\": " + Spread(native, 0) +
          ", \"tree_cost_percent\": " + Spread(cost, 2) +
          ", \"native_cost_percent\": " + Spread(native_cost, 2) + "}");
  }

  void Print(const std::string& line) {
    if (world_.rank() == 0) std::printf("%s\n", line.c_str());
    std::fflush(stdout);
  }

 private:
  struct Way {
    std::vector<double> us;  // a call, by round
    int64_t messages = 0;    // of rank 0 for a call
  };

  std::unique_ptr<Reducer> Make(ReducerOptions options) {
    options.replicas = world_.size();
    return MakeReducer(world_, options);
  }

  // The ways in turns, round after round.
  std::vector<Way> Time(const std::vector<Reducer*>& ways, Tensor& tensor, int calls) {
    std::vector<Way> measured(ways.size());
    for (Reducer* reducer : ways) Verify(*reducer, tensor);
    for (int round = 0; round < rounds_; ++round) {
      for (size_t i = 0; i < ways.size(); ++i) {
        world_.Barrier();
        const int64_t before = ways[i]->counters().messages;
        const Clock::time_point begin = Clock::now();
        for (int call = 0; call < calls; ++call) Reduce(*ways[i], tensor);
        measured[i].us.push_back(Microseconds(Clock::now() - begin) / calls);
        measured[i].messages = (ways[i]->counters().messages - before) / calls;
      }
    }
    return measured;
  }

  static std::vector<double> Ratio(const std::vector<double>& one, const std::vector<double>& other) {
    std::vector<double> ratio;
    for (size_t i = 0; i < one.size(); ++i) ratio.push_back(one[i] / other[i]);
    return ratio;
  }

  std::string Head(const std::string& name, const Tensor& tensor) const {
    return "{\"case\": \"" + name + "\", \"processes\": " + std::to_string(world_.size()) +
           ", \"bytes\": " + std::to_string(tensor.bytes());
  }

  void Reduce(Reducer& reducer, const Tensor& tensor) {
    const ReplicaLink link{&reducer, world_.rank()};
    link.Reduce(
        {.group = {0, world_.size()}, .contribution = tensor, .result = tensor, .name = "bench"});
  }

  // Replica r brings r + 1 everywhere; leaves zeros, which stay zeros however often they are summed.
  void Verify(Reducer& reducer, Tensor& tensor) {
    const int n = world_.size();
    const auto fill = [&](double value) {
      if (tensor.dtype() == DType::kFloat32) {
        std::ranges::fill(tensor.Span<float>(), static_cast<float>(value));
      } else {
        std::ranges::fill(tensor.Span<double>(), value);
      }
    };
    const auto all = [&](double value) {
      const auto is = [&](auto x) { return static_cast<double>(x) == value; };
      return tensor.dtype() == DType::kFloat32 ? std::ranges::all_of(tensor.Span<float>(), is)
                                               : std::ranges::all_of(tensor.Span<double>(), is);
    };
    fill(world_.rank() + 1);
    Reduce(reducer, tensor);
    if (!all(n * (n + 1) / 2)) throw Error(ErrorCode::kInternal, "wrong sum");
    fill(0);
  }

  // Arithmetic in registers for as long as it takes on a free core: time lost to others counts.
  void Compute(std::chrono::microseconds time) {
    // The fastest of many short tries is one that nobody disturbed.
    for (int i = 0; i < 200 && !calibrated_; ++i) {
      const Clock::time_point begin = Clock::now();
      Spin(100'000);
      steps_per_us_ = std::max(steps_per_us_, 1e5 / Microseconds(Clock::now() - begin));
    }
    calibrated_ = true;
    Spin(static_cast<int64_t>(static_cast<double>(time.count()) * steps_per_us_));
  }
  void Spin(int64_t steps) {
    double x = sink_;
    for (int64_t i = 0; i < steps; ++i) x = x * 0.999999 + 1e-6;
    sink_ = x;
  }

  Communicator& world_;
  const int rounds_;
  const std::unique_ptr<Reducer> tree_, direct_, recursive_, native_;
  bool calibrated_ = false;
  double steps_per_us_ = 0;
  volatile double sink_ = 1;
};

int Main(int rounds) {
  MpiSession session;
  try {
    Bench bench(session.world(), rounds);
    for (const int64_t elements : {33, 65, 129, 257, 513, 1025}) bench.SmallSums(elements, 200);
    for (const int64_t mib : {1, 4, 16, 37}) bench.LargeSums(mib << 18, mib > 4 ? 2 : 5);
    bench.Step(40, 129, std::chrono::microseconds(2250));
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    session.world().Abort(1);
  }
  return 0;
}

}  // namespace
}  // namespace syncbn::comm

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 15;
  if (argc > 2 || rounds < 1) {
    std::fprintf(stderr, "usage: %s [rounds], of which there must be one\n", argv[0]);
    return 2;
  }
  return syncbn::comm::Main(rounds);
}
