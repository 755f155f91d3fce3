#include "app/run/profile_report.h"

#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "app/console.h"
#include "app/run/output_folder.h"
#include "app/table.h"
#include "app/terminal.h"
#include "base/error.h"
#include "base/file.h"
#include "base/host.h"
#include "base/text.h"
#include "comm/mpi/mpi_session.h"
#include "train/profile/layer_table.h"
#include "train/profile/trace_file.h"

namespace syncbn::app {
namespace {

namespace fs = std::filesystem;
using train::LayerRow;
using train::LayerTable;

// So many rows fit a screen beside what stands around them.
constexpr size_t kMostRows = 30;

std::string Milliseconds(double value) {
  return value > 0 ? Fixed(value, 3) : "";
}

std::string Share(double part, double whole) {
  return whole > 0 ? Format("%.1f %%", 100 * part / whole) : "-";
}

std::string Bytes(double value) {
  if (value <= 0) return "";
  if (value < 10'000) return Format("%.0f B", value);
  if (value < 10'000'000) return Format("%.1f KB", value / 1000);
  return Format("%.1f MB", value / 1'000'000);
}

double Weight(const LayerRow& row) {
  return row.computing() + row.wait;
}

void Print(const LayerTable& table) {
  Table shown({{.header = "LAYER"},
               {.header = "FORWARD", .right = true},
               {.header = "BACKWARD", .right = true},
               {.header = "SHARE", .right = true},
               {.header = "WAIT", .right = true},
               {.header = "SKEW", .right = true, .goes = 1},
               {.header = "MESSAGES", .right = true, .goes = 3},
               {.header = "BYTES", .right = true, .goes = 2}});
  const LayerRow total = table.Total(), norms = table.Norms();
  const auto add = [&](const LayerRow& row, const std::string& name) {
    shown.Add({{.text = name},
               {.text = Milliseconds(row.forward)},
               {.text = Milliseconds(row.backward)},
               {.text = Share(row.computing(), total.computing())},
               {.text = Milliseconds(row.wait)},
               {.text = Milliseconds(row.skew)},
               {.text = row.messages > 0 ? Format("%.0f", row.messages) : ""},
               {.text = Bytes(row.bytes)}});
  };
  // The heaviest, in the order of the layers.
  double least = 0;
  if (table.rows.size() > kMostRows) {
    std::vector<double> weights;
    for (const LayerRow& row : table.rows) weights.push_back(Weight(row));
    std::ranges::nth_element(weights, weights.begin() + kMostRows - 1, std::greater<>());
    least = weights[kMostRows - 1];
  }
  size_t left_out = 0;
  for (const LayerRow& row : table.rows) {
    if (Weight(row) >= least) {
      add(row, row.layer);
    } else {
      ++left_out;
    }
  }
  if (norms.computing() > 0) add(norms, "all norms");
  add(total, "total");

  Say(stdout,
      "profile of %s from step %lld on (%s on %s): %.2f ms a step, %.1f %% of it computing, "
      "%.1f %% waiting for statistics, %.1f %% for gradients, %.1f %% for data\n\n",
      Plural(table.steps, "step").c_str(), static_cast<long long>(table.first_step),
      Plural(table.replicas, "replica").c_str(), Plural(table.processes, "process").c_str(),
      table.wall, 100 * table.compute / table.wall, 100 * table.statistics / table.wall,
      100 * table.gradients / table.wall, 100 * table.data / table.wall);
  // mpirun gives its processes a terminal of their own, whatever its output is.
  const Terminal terminal = comm::MpiSession::UnderMpirun() ? Terminal() : Terminal::Of(stdout);
  Say(stdout, "%s", shown.Render(terminal).c_str());
  if (left_out > 0) {
    Say(stdout, "and %s of less than %.3f ms each\n",
        Plural(static_cast<long long>(left_out), "row").c_str(), least);
  }
  Say(stdout, "%s",
      (Sentences(
           "Milliseconds of a replica in a step: FORWARD and BACKWARD on a core, WAIT for "
           "others; SKEW is from the first replica's part in a reduction to the last's. Where "
           "replicas take turns on a core both are long and cost nothing: what waiting costs "
           "stands above. MESSAGES and BYTES are those of all processes in a step.") +
       "\n\n")
          .c_str());
}

}  // namespace

void CheckCanProfile(const backend::Backend& backend) {
  if (&backend.device() == &Device::Host()) return;
  throw Error(ErrorCode::kInvalidArgument,
              "--profile measures by the clock of the host, which says nothing of what a GPU does: "
              "use 'nsys profile' of NVIDIA, or --backend cpu");
}

void LeaveProfile(comm::Communicator& communicator, train::Recorder& recorder,
                  const train::Recorder::Steps& steps, const nn::Model& model,
                  const fs::path& folder) {
  const train::Profile profile = train::GatherProfile(communicator, HostName(), recorder.Take());
  if (communicator.rank() != 0) return;
  if (profile.steps() == 0) {
    Say(stderr,
        "syncbn: warning: no step was profiled: the run has ended within the first %s, which "
        "--profile-after leaves out\n",
        Plural(steps.after, "step").c_str());
    return;
  }
  std::set<std::string> norms;
  for (const nn::NormLayer& norm : model.norms()) norms.insert(norm.name);
  const LayerTable table = train::MakeLayerTable(profile, norms);
  Print(table);
  try {
    MakeOutputFolder(folder, "--out");
    WriteFileAtomically(folder / "layers.csv", train::LayerCsv(table));
    train::WriteTrace(folder / "trace.json", profile);
    Say(stdout,
        "all rows: %s; every layer, wait and message: %s (open it in ui.perfetto.dev or "
        "chrome://tracing)\n\n",
        (folder / "layers.csv").c_str(), (folder / "trace.json").c_str());
  } catch (const Error& error) {
    Say(stderr, "syncbn: warning: the profile was not written: %s\n", error.message().c_str());
  }
  std::fflush(stdout);
}

}  // namespace syncbn::app
