#include "train/profile/profile.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/error.h"

namespace syncbn::train {
namespace {

// Barriers by which the clocks of two hosts are compared.
constexpr int kBarriers = 15;

int64_t Nanoseconds(MonotonicTime time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

// Fields between tabs, lines between line ends. Names hold neither.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}
  bool AtEnd() const { return text_.empty(); }
  std::string_view Rest() const { return text_; }
  std::string_view Text() {
    const size_t end = text_.find_first_of("\t\n");
    if (end == std::string_view::npos) throw Error(ErrorCode::kDataLoss, "a recording is cut off");
    return std::exchange(text_, text_.substr(end + 1)).substr(0, end);
  }
  int64_t Number() {
    const std::string_view text = Text();
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
      throw Error(ErrorCode::kDataLoss,
                  "a recording has \"" + std::string(text) + "\" for a number");
    }
    return value;
  }
  std::chrono::nanoseconds Duration() { return std::chrono::nanoseconds(Number()); }
  MonotonicTime Time() {
    return MonotonicTime(std::chrono::duration_cast<MonotonicTime::duration>(Duration()));
  }

 private:
  std::string_view text_;
};

void Move(Recording& recording, std::chrono::nanoseconds by) {
  for (Span& span : recording.spans) {
    span.begin += by;
    span.end += by;
  }
}

}  // namespace

std::string RecordingText(const Recording& recording) {
  std::string text;
  const auto add = [&](int64_t value, char end = '\t') {
    text += std::to_string(value);
    text += end;
  };
  add(recording.steps);
  add(recording.wall.count());
  for (size_t i = 0; i < kShares; ++i) {
    add(recording.shares.spent[i].count(), i + 1 < kShares ? '\t' : '\n');
  }
  for (const Span& span : recording.spans) {
    add(static_cast<int64_t>(span.kind));
    add(span.replica);
    add(span.step);
    for (const std::string* name : {&span.name, &span.phase, &span.layer}) text += *name + '\t';
    add(Nanoseconds(span.begin));
    add(Nanoseconds(span.end));
    add(span.computing.count());
    add(span.group);
    add(span.messages);
    add(span.bytes, '\n');
  }
  return text;
}

Recording RecordingOf(std::string_view text) {
  Reader reader(text);
  Recording recording;
  recording.steps = reader.Number();
  recording.wall = reader.Duration();
  for (std::chrono::nanoseconds& share : recording.shares.spent) share = reader.Duration();
  while (!reader.AtEnd()) {
    Span span;
    const int64_t kind = reader.Number();
    if (kind < 0 || kind > static_cast<int64_t>(Span::Kind::kPassage)) {
      throw Error(ErrorCode::kDataLoss, "a recording has a span of kind " + std::to_string(kind));
    }
    span.kind = static_cast<Span::Kind>(kind);
    span.replica = static_cast<int>(reader.Number());
    span.step = reader.Number();
    for (std::string* name : {&span.name, &span.phase, &span.layer}) *name = reader.Text();
    span.begin = reader.Time();
    span.end = reader.Time();
    span.computing = reader.Duration();
    span.group = static_cast<int>(reader.Number());
    span.messages = reader.Number();
    span.bytes = reader.Number();
    recording.spans.push_back(std::move(span));
  }
  return recording;
}

int64_t Profile::steps() const {
  int64_t steps = processes.empty() ? 0 : processes.front().recording.steps;
  for (const Process& process : processes) steps = std::min(steps, process.recording.steps);
  return steps;
}

Profile GatherProfile(comm::Communicator& communicator, std::string_view host, Recording recording,
                      const Clock& clock) {
  // When each process has left the same barriers; the same clock where the machine and its start
  // are.
  std::string header = std::string(host) + '\n' + clock.Boot() + '\n';
  for (int i = 0; i < kBarriers; ++i) {
    communicator.Barrier();
    header += std::to_string(Nanoseconds(clock.Monotonic())) + '\n';
  }
  const std::vector<std::string> texts = communicator.AllGather(header + RecordingText(recording));
  if (communicator.rank() != 0) return {};
  Profile profile;
  std::string root_boot;
  std::vector<std::chrono::nanoseconds> root_times;
  for (const std::string& text : texts) {
    Reader reader(text);
    Profile::Process process{.host = std::string(reader.Text()), .recording = {}};
    const std::string boot(reader.Text());
    std::vector<std::chrono::nanoseconds> times;
    for (int i = 0; i < kBarriers; ++i) times.push_back(reader.Duration());
    process.recording = RecordingOf(reader.Rest());
    if (profile.processes.empty()) {
      root_boot = boot;
      root_times = times;
    } else if (boot.empty() || boot != root_boot) {
      for (size_t i = 0; i < times.size(); ++i) times[i] = root_times[i] - times[i];
      std::ranges::sort(times);
      Move(process.recording, times[times.size() / 2]);
    }
    profile.processes.push_back(std::move(process));
  }
  return profile;
}

}  // namespace syncbn::train
