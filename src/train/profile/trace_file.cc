#include "train/profile/trace_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/file.h"

namespace syncbn::train {
namespace {

using Json = nlohmann::ordered_json;

// Numbers of tracks: that of the process, then those of replicas, then those of messages.
constexpr int kProcessTrack = 0;
constexpr int kFirstReplicaTrack = 1;
constexpr int kFirstMessageTrack = 1'000'000;

double Microseconds(std::chrono::nanoseconds time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

class Trace {
 public:
  explicit Trace(MonotonicTime start) : start_(start) {}

  void Name(int process, const std::string& name) {
    Add({{"ph", "M"}, {"pid", process}, {"name", "process_name"}, {"args", {{"name", name}}}});
    Add({{"ph", "M"},
         {"pid", process},
         {"name", "process_sort_index"},
         {"args", {{"sort_index", process}}}});
  }
  void Name(int process, int track, const std::string& name) {
    Add({{"ph", "M"},
         {"pid", process},
         {"tid", track},
         {"name", "thread_name"},
         {"args", {{"name", name}}}});
    Add({{"ph", "M"},
         {"pid", process},
         {"tid", track},
         {"name", "thread_sort_index"},
         {"args", {{"sort_index", track}}}});
  }
  void Event(int process, int track, const Span& span, const std::string& name,
             const char* category, Json details) {
    details["step"] = span.step;
    Add({{"ph", "X"},
         {"pid", process},
         {"tid", track},
         {"ts", Microseconds(span.begin - start_)},
         {"dur", Microseconds(span.end - span.begin)},
         {"name", name},
         {"cat", category},
         {"args", std::move(details)}});
  }
  std::string Text() && { return std::move(text_) + "\n]}\n"; }

 private:
  void Add(const Json& event) {
    text_ += first_ ? "\n" : ",\n";
    first_ = false;
    text_ += event.dump(-1, ' ', false, Json::error_handler_t::replace);
  }

  const MonotonicTime start_;
  std::string text_ = R"({"displayTimeUnit":"ms","traceEvents":[)";
  bool first_ = true;
};

MonotonicTime StartOf(const Profile& profile) {
  MonotonicTime start = MonotonicTime::max();
  for (const Profile::Process& process : profile.processes) {
    for (const Span& span : process.recording.spans) start = std::min(start, span.begin);
  }
  return start;
}

// What is under way at the same time, on tracks of its own: the first that is free.
class FreeTracks {
 public:
  size_t Take(const Span& span) {
    size_t track = 0;
    while (track < busy_until_.size() && busy_until_[track] > span.begin) ++track;
    if (track == busy_until_.size()) busy_until_.emplace_back();
    busy_until_[track] = span.end;
    return track;
  }
  size_t size() const { return busy_until_.size(); }

 private:
  std::vector<MonotonicTime> busy_until_;
};

void AddProcess(Trace& trace, int rank, const Profile::Process& process) {
  trace.Name(rank, "rank " + std::to_string(rank) + " on " + process.host);
  trace.Name(rank, kProcessTrack, "steps");
  std::vector<const Span*> passages;
  std::set<int> replicas;
  for (const Span& span : process.recording.spans) {
    const int track = kFirstReplicaTrack + span.replica;
    if (span.replica >= 0) replicas.insert(span.replica);
    switch (span.kind) {
      case Span::Kind::kStep:
        trace.Event(rank, kProcessTrack, span, "step " + std::to_string(span.step), "step", {});
        break;
      case Span::Kind::kPart:
        trace.Event(rank, kProcessTrack, span, span.name, "step", {});
        break;
      case Span::Kind::kLayer:
        trace.Event(rank, track, span,
                    span.name.empty() ? span.phase : span.name + " " + span.phase, "layer",
                    {{"phase", span.phase}, {"ms on a core", Microseconds(span.computing) / 1000}});
        break;
      case Span::Kind::kWait:
        trace.Event(rank, track, span, "wait: " + span.name, "wait", {});
        break;
      case Span::Kind::kReduction:
        break;  // its wait and its passage are there
      case Span::Kind::kPassage:
        passages.push_back(&span);
        break;
    }
  }
  for (const int replica : replicas) {
    trace.Name(rank, kFirstReplicaTrack + replica, "replica " + std::to_string(replica));
  }
  std::ranges::sort(passages, {}, [](const Span* span) { return span->begin; });
  FreeTracks tracks;
  for (const Span* span : passages) {
    trace.Event(rank, kFirstMessageTrack + static_cast<int>(tracks.Take(*span)), *span, span->name,
                "message",
                {{"messages sent", span->messages},
                 {"bytes sent", span->bytes},
                 {"first replica", span->group}});
  }
  for (size_t i = 0; i < tracks.size(); ++i) {
    trace.Name(rank, kFirstMessageTrack + static_cast<int>(i), "between processes");
  }
}

}  // namespace

std::string TraceJson(const Profile& profile) {
  Trace trace(StartOf(profile));
  int rank = 0;
  for (const Profile::Process& process : profile.processes) AddProcess(trace, rank++, process);
  return std::move(trace).Text();
}

void WriteTrace(const std::filesystem::path& path, const Profile& profile) {
  WriteFileAtomically(path, TraceJson(profile));
}

}  // namespace syncbn::train
