#include "base/activity.h"

#include <array>

#include "base/unknown_value.h"

namespace syncbn {
namespace {

struct Entry {
  Activity activity;
  std::string_view name;
  Awaits awaits;
};

constexpr std::array kTable = {
    Entry{Activity::kLoad, "load", Awaits::kOutside},
    Entry{Activity::kJoin, "join", Awaits::kReplicas},
    Entry{Activity::kStart, "start", Awaits::kOutside},
    Entry{Activity::kTrain, "train", Awaits::kItself},
    Entry{Activity::kDevice, "device", Awaits::kReplicas},
    Entry{Activity::kRecord, "record", Awaits::kOutside},
    Entry{Activity::kDump, "dump", Awaits::kOutside},
    Entry{Activity::kEvaluate, "evaluate", Awaits::kItself},
    Entry{Activity::kCheckpoint, "checkpoint", Awaits::kOutside},
    Entry{Activity::kFinish, "finish", Awaits::kOutside},
    Entry{Activity::kCompute, "compute", Awaits::kItself},
    Entry{Activity::kReduction, "reduction", Awaits::kReplicas},
    Entry{Activity::kTurn, "turn", Awaits::kReplicas},
    Entry{Activity::kData, "data", Awaits::kOutside},
    Entry{Activity::kRest, "rest", Awaits::kProcess},
};

// An activity is its place in the table.
constexpr bool InOrder() {
  for (size_t i = 0; i < kTable.size(); ++i) {
    if (kTable[i].activity != static_cast<Activity>(i)) return false;
  }
  return kTable.back().activity == Activity::kRest;
}
static_assert(InOrder());

const Entry& EntryOf(Activity activity) {
  const auto index = static_cast<size_t>(activity);
  if (index >= kTable.size()) ThrowUnknownValue("activity", static_cast<int>(activity));
  return kTable[index];
}

}  // namespace

std::string_view NameOf(Activity activity) { return EntryOf(activity).name; }

Awaits AwaitedBy(Activity activity) { return EntryOf(activity).awaits; }

std::optional<Activity> ActivityNamed(std::string_view name) {
  for (const Entry& entry : kTable) {
    if (entry.name == name) return entry.activity;
  }
  return std::nullopt;
}

}  // namespace syncbn
