#include "train/profile/layer_table.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/text.h"

namespace syncbn::train {
namespace {

constexpr const char* kStepReductions = "gradients";

double Milliseconds(std::chrono::nanoseconds time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

// Rows by name, in the order in which they were asked for.
class Rows {
 public:
  LayerRow& operator[](const std::string& name) {
    const auto [found, is_new] = index_.try_emplace(name, rows_.size());
    if (is_new) rows_.push_back({.layer = name});
    return rows_[found->second];
  }
  std::vector<LayerRow> Take() { return std::move(rows_); }

 private:
  std::vector<LayerRow> rows_;
  std::map<std::string, size_t> index_;
};

// The row of a span of a replica that is of no layer.
std::string RowOf(const Span& layer) {
  if (!layer.name.empty()) return layer.name;
  return layer.phase == "forward" ? "input" : layer.phase;
}

// The occurrences of a reduction in a step, over all replicas.
struct Meeting {
  MonotonicTime first, last;
};

void Add(LayerRow& sum, const LayerRow& row) {
  sum.forward += row.forward;
  sum.backward += row.backward;
  sum.wait += row.wait;
  sum.skew += row.skew;
  sum.messages += row.messages;
  sum.bytes += row.bytes;
}

}  // namespace

LayerRow LayerTable::Total() const {
  LayerRow total{.layer = "total"};
  for (const LayerRow& row : rows) Add(total, row);
  return total;
}

LayerRow LayerTable::Norms() const {
  LayerRow total{.layer = "norms", .norm = true};
  for (const LayerRow& row : rows) {
    if (row.norm) Add(total, row);
  }
  return total;
}

LayerTable MakeLayerTable(const Profile& profile, const std::set<std::string>& norms) {
  LayerTable table{.steps = profile.steps(),
                   .processes = static_cast<int>(profile.processes.size())};
  SYNCBN_CHECK_GT(table.steps, 0) << "no step was recorded";
  Rows layers, others;
  std::set<int> replicas;
  std::map<std::string, std::string> layer_of;  // of a reduction
  // By step, group, name and how often the replica has begun that before in the step.
  using Key = std::tuple<int64_t, int, std::string, int>;
  std::map<Key, Meeting> meetings;
  table.first_step = -1;
  for (const Profile::Process& process : profile.processes) {
    const Recording& recording = process.recording;
    table.wall += Milliseconds(recording.wall);
    table.compute += recording.shares.Milliseconds(Share::kCompute);
    table.statistics += recording.shares.Milliseconds(Share::kStatistics);
    table.gradients += recording.shares.Milliseconds(Share::kGradients);
    table.data += recording.shares.Milliseconds(Share::kData);
    std::map<std::tuple<int, int64_t, int, std::string>, int> begun;
    for (const Span& span : recording.spans) {
      switch (span.kind) {
        case Span::Kind::kStep:
          if (table.first_step < 0 || span.step < table.first_step) table.first_step = span.step;
          break;
        case Span::Kind::kPart:
          others[span.name].forward += Milliseconds(span.end - span.begin);
          break;
        case Span::Kind::kLayer: {
          replicas.insert(span.replica);
          LayerRow& row = span.name.empty() ? others[RowOf(span)] : layers[span.name];
          (span.phase == "backward" ? row.backward : row.forward) += Milliseconds(span.computing);
          break;
        }
        case Span::Kind::kWait: {
          LayerRow& row = !span.layer.empty()   ? layers[span.layer]
                          : span.name == "data" ? others["input"]
                                                : others[kStepReductions];
          // Who waits for its turn waits for what others compute.
          if (span.name != "turn") row.wait += Milliseconds(span.end - span.begin);
          break;
        }
        case Span::Kind::kReduction: {
          layer_of[span.name] = span.layer;
          const int n = begun[{span.replica, span.step, span.group, span.name}]++;
          const auto [found, is_new] = meetings.try_emplace(
              Key{span.step, span.group, span.name, n}, Meeting{span.begin, span.begin});
          found->second.first = std::min(found->second.first, span.begin);
          found->second.last = std::max(found->second.last, span.begin);
          break;
        }
        case Span::Kind::kPassage:
          break;
      }
    }
  }
  const auto row_of_reduction = [&](const std::string& name) -> LayerRow& {
    const auto found = layer_of.find(name);
    return found == layer_of.end() || found->second.empty() ? others[kStepReductions]
                                                            : layers[found->second];
  };
  for (const auto& [key, meeting] : meetings) {
    row_of_reduction(std::get<2>(key)).skew += Milliseconds(meeting.last - meeting.first);
  }
  for (const Profile::Process& process : profile.processes) {
    for (const Span& span : process.recording.spans) {
      if (span.kind != Span::Kind::kPassage) continue;
      LayerRow& row = row_of_reduction(span.name);
      row.messages += static_cast<double>(span.messages);
      row.bytes += static_cast<double>(span.bytes);
    }
  }
  table.replicas = static_cast<int>(replicas.size());
  table.rows = layers.Take();
  std::ranges::move(others.Take(), std::back_inserter(table.rows));
  const double steps = static_cast<double>(table.steps);
  const double passes = steps * std::max(1, table.replicas);
  for (LayerRow& row : table.rows) {
    row.norm = norms.contains(row.layer);
    const bool of_process = row.layer == "update" || row.layer == "figures";
    row.forward /= of_process ? steps * table.processes : passes;
    row.backward /= passes;
    row.wait /= passes;
    row.skew /= steps;
    row.messages /= steps;
    row.bytes /= steps;
  }
  for (double* time :
       {&table.wall, &table.compute, &table.statistics, &table.gradients, &table.data}) {
    *time /= steps * table.processes;
  }
  return table;
}

std::string LayerCsv(const LayerTable& table) {
  std::string csv =
      "layer,norm,forward_ms,backward_ms,wait_ms,skew_ms,messages_per_step,bytes_per_step\n";
  for (const LayerRow& row : table.rows) {
    csv += row.layer + (row.norm ? ",1" : ",0");
    for (const double value :
         {row.forward, row.backward, row.wait, row.skew, row.messages, row.bytes}) {
      csv += ',' + FormatDouble(value);
    }
    csv += '\n';
  }
  return csv;
}

}  // namespace syncbn::train
