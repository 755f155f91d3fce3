#include "app/run/event_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "app/run/metric_points.h"
#include "app/run/record_file.h"
#include "base/host.h"

namespace syncbn::app {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kLead = "events.out.tfevents.", kEnd = ".syncbn";

int64_t SecondsOf(WallTime time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

// Of the newest file there; 0: none.
int64_t NewestTime(const fs::path& folder) {
  int64_t newest = 0;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!IsEventFile(name)) continue;
    int64_t time = 0;
    std::from_chars(name.data() + kLead.size(), name.data() + name.size(), time);
    newest = std::max(newest, time);
  }
  return newest;
}

// What is no figure has a group of that name already.
constexpr std::array<std::string_view, 5> kTakenGroups = {"train", "test", "time", "parameters",
                                                          "gradients"};

// "activations.conv1.mean" in the group "activations"; a figure of an evaluation stays beside it.
std::string TagOfFigure(const std::string& split, const std::string& name) {
  const size_t dot = name.find('.');
  const std::string_view group = std::string_view(name).substr(0, dot);
  if (split != "train" || std::ranges::find(kTakenGroups, group) != kTakenGroups.end())
    return split + "/" + name;
  return dot == std::string::npos ? name : std::string(group) + "/" + name.substr(dot + 1);
}

}  // namespace

bool IsEventFile(const std::string& name) {
  return name.starts_with(kLead) && name.ends_with(kEnd);
}

EventFile::EventFile(EventFileOptions options, Clock& clock)
    : options_(std::move(options)), clock_(clock) {
  Open();
  tensorboard::Event version;
  version.set_file_version("brain.Event:2");
  Append(std::move(version));
  tensorboard::Event start;
  start.set_step(options_.first_step);
  start.mutable_session_log()->set_status(tensorboard::SessionLog::START);
  Append(std::move(start));
}

void EventFile::Open() {
  const int64_t time = std::max(SecondsOf(clock_.Now()), NewestTime(options_.folder) + 1);
  path_ = options_.folder /
          (std::string(kLead) + std::to_string(time) + "." + HostName() + std::string(kEnd));
  file_ =
      Descriptor(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666));
  if (file_.get() >= 0) return;
  Warn("cannot create " + path_.string() + ": " + std::strerror(errno) +
       "; TensorBoard will not see this run, metrics.jsonl has its figures");
  path_.clear();
}

void EventFile::Write(const train::MetricRecord& record) {
  if (file_.get() < 0) return;
  tensorboard::Event event;
  event.set_step(record.step);
  const auto add = [&](const std::string& tag, double value) {
    tensorboard::Summary::Value& one = *event.mutable_summary()->add_value();
    one.set_tag(tag);
    one.set_simple_value(static_cast<float>(value));
  };
  train::MetricRecord plain = record;
  plain.figures.clear();
  for (const report::Point& point : PointsOf(plain, options_.evaluation, 0))
    add(point.name, point.value);
  if (record.milliseconds) {
    const auto& ms = *record.milliseconds;
    add("time/step_ms", ms.compute + ms.statistics + ms.gradients + ms.data);
  }
  for (const auto& [name, value] : record.figures) add(TagOfFigure(record.split, name), value);
  if (event.has_summary()) Append(std::move(event));
}

void EventFile::WriteHistogram(int64_t step, const std::string& tag,
                               tensorboard::HistogramProto histogram) {
  if (file_.get() < 0) return;
  tensorboard::Event event;
  event.set_step(step);
  tensorboard::Summary::Value& value = *event.mutable_summary()->add_value();
  value.set_tag(tag);
  *value.mutable_histo() = std::move(histogram);
  Append(std::move(event));
}

void EventFile::Append(tensorboard::Event event) {
  if (file_.get() < 0) return;
  event.set_wall_time(std::chrono::duration<double>(clock_.Now().time_since_epoch()).count());
  waiting_ += FramedRecord(event.SerializeAsString());
  const bool written = WriteWaiting();
  const std::string reason = written ? "" : std::strerror(errno);
  if (waiting_.size() > kMostWaiting) {
    Warn(path_.string() + " ends before step " + std::to_string(event.step()) + ": " + reason +
         "; metrics.jsonl has the figures of later steps, and a run that is resumed begins another "
         "file");
    file_ = Descriptor();
    waiting_ = std::string();
    return;
  }
  if (written == !failing_) return;
  failing_ = !written;
  Warn(written ? path_.string() + " is written again"
               : "cannot write " + path_.string() + ": " + reason +
                     "; its events wait in memory and training goes on");
}

void EventFile::Flush() {
  if (file_.get() < 0) return;
  // Where it fails Append has said so, or will.
  if (WriteWaiting()) ::fdatasync(file_.get());
}

bool EventFile::WriteWaiting() {
  // Whatever happens the file ends with a whole record, so that TensorBoard reads on: what a full
  // disk has cut off is taken back and written again later.
  if (torn_ && ::ftruncate(file_.get(), length_) != 0) return false;
  torn_ = false;
  size_t done = 0;
  while (done < waiting_.size()) {
    const ssize_t count = ::write(file_.get(), waiting_.data() + done, waiting_.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int error = errno;
      torn_ = done > 0 && ::ftruncate(file_.get(), length_) != 0;
      errno = error;
      return false;
    }
    done += static_cast<size_t>(count);
  }
  length_ += static_cast<int64_t>(done);
  waiting_.clear();
  return true;
}

void EventFile::Warn(const std::string& warning) const {
  if (options_.on_warning) options_.on_warning(warning);
}

}  // namespace syncbn::app
